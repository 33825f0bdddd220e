// The drawing is well-formed XML whatever is drawn, and shows each stretch of numbers once.

#include "lockstep/io/curves.hpp"

#include <cctype>
#include <cmath>
#include <string_view>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

// An ampersand begins one of XML's own five entities.
bool has_good_entities(std::string_view text) {
  for (std::size_t at = text.find('&'); at != text.npos; at = text.find('&', at + 1)) {
    bool is_known = false;
    for (const std::string_view entity : {"&amp;", "&lt;", "&gt;", "&quot;", "&apos;"})
      is_known = is_known || text.substr(at, entity.size()) == entity;
    if (!is_known) return false;
  }
  return true;
}

// Attributes are name='value', with a space before each.
bool has_good_attributes(std::string_view text) {
  while (!text.empty()) {
    const std::size_t quote = text.find("='");
    if (text.front() != ' ' || quote == text.npos) return false;
    const std::string_view name = text.substr(1, quote - 1);
    for (const char c : name)
      if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-') return false;
    const std::size_t end = text.find('\'', quote + 2);
    if (name.empty() || end == text.npos) return false;
    text.remove_prefix(end + 1);
  }
  return true;
}

// Elements are nested and closed, there is one root, and no character needs escaping.
bool is_well_formed(std::string_view xml) {
  std::vector<std::string> open;
  for (const char c : xml)
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') return false;
  if (!has_good_entities(xml) || xml.substr(0, 4) != "<svg") return false;
  std::size_t at = 0;
  while (at < xml.size()) {
    const std::size_t end = xml.find('>', at);
    if (xml[at] != '<' || end == xml.npos) return false;
    std::string_view tag = xml.substr(at + 1, end - at - 1);
    const std::size_t next = std::min(xml.find('<', end), xml.size());
    const std::string_view text = xml.substr(end + 1, next - end - 1);
    if (text.find('>') != text.npos) return false;
    if (tag.front() == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else {
      const bool is_closed = tag.back() == '/';
      if (is_closed) tag.remove_suffix(1);
      const std::size_t name_end = std::min(tag.find(' '), tag.size());
      if (!has_good_attributes(tag.substr(name_end))) return false;
      if (!is_closed) open.emplace_back(tag.substr(0, name_end));
    }
    if (open.empty()) return next == xml.size() && text == "\n";
    at = next;
  }
  return false;
}

std::size_t count_of(std::string_view part, std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("the check of XML sees mistakes") {
  CHECK(is_well_formed("<svg a='1'><g><path d='M0 0'/>x &lt;</g></svg>\n"));
  CHECK_FALSE(is_well_formed("<svg><g></svg>\n"));
  CHECK_FALSE(is_well_formed("<svg><g></svg></g>\n"));
  CHECK_FALSE(is_well_formed("<svg>a & b</svg>\n"));
  CHECK_FALSE(is_well_formed("<svg>a < b</svg>\n"));
  CHECK_FALSE(is_well_formed("<svg a='it's'></svg>\n"));
  CHECK_FALSE(is_well_formed("<svg></svg><svg></svg>\n"));
  CHECK_FALSE(is_well_formed("<svg>"));
}

TEST_CASE("loss and accuracy become two diagrams with two lines each") {
  const std::vector<double> epochs{1, 2, 3};
  const std::string svg = curves_svg({{"training", epochs, {2.0, 1.0, 0.5}, "loss"},
                                      {"validation", epochs, {2.1, 1.2, 0.9}, "loss"},
                                      {"training", epochs, {0.2, 0.6, 0.8}, "accuracy"},
                                      {"validation", epochs, {0.1, 0.5, 0.7}, "accuracy"}});
  CHECK(is_well_formed(svg));
  CHECK(count_of("<g ", svg) == 2);
  CHECK(count_of("stroke-linejoin", svg) == 4);
  CHECK(count_of(">training<", svg) == 2);
  CHECK(count_of(">validation<", svg) == 2);
  CHECK(count_of(">loss<", svg) == 1);
  CHECK(count_of(">accuracy<", svg) == 1);
  CHECK(count_of(">epoch<", svg) == 2);
  CHECK(count_of("nan", svg) + count_of("inf", svg) == 0);
  // Three epochs over 360 pixels, losses on an axis from 0.5 to 2.5 over 216.
  CHECK(count_of("d='M64.0 110.0L244.0 218.0L424.0 272.0'", svg) == 1);
}

TEST_CASE("equal labels have equal colours") {
  const auto colours = [](const std::string& label) {
    const std::string svg = curves_svg({{"a", {1}, {1}, "p"}, {label, {1}, {1}, "q"}});
    std::vector<std::string> found;
    for (std::size_t at = svg.find("r='3' fill='"); at != svg.npos;
         at = svg.find("r='3' fill='", at + 1))
      found.push_back(svg.substr(at + 12, 7));
    REQUIRE(found.size() == 2);
    return found;
  };
  CHECK(colours("a")[0] == colours("a")[1]);
  CHECK(colours("b")[0] != colours("b")[1]);
}

TEST_CASE("gaps part a line, lonely points are dots") {
  const std::vector<double> x{1, 2, 3, 4, 5, 6, 7, 8};
  const std::string svg = curves_svg({{"a", x, {1, 2, NAN, 4, INFINITY, 6, 1e300, 8}, "loss"},
                                      {"b", {1, NAN, 3, 4, 5, 6, 7, 8}, x, "loss"}});
  CHECK(is_well_formed(svg));
  CHECK(count_of("<circle", svg) == 4);
  CHECK(count_of("stroke-linejoin", svg) == 2);
  CHECK(count_of("nan", svg) + count_of("inf", svg) == 0);
}

TEST_CASE("little or nothing to draw is drawn") {
  for (const std::vector<Curve>& curves :
       std::vector<std::vector<Curve>>{{},
                                       {{"a", {}, {}, "loss"}},
                                       {{"a", {1}, {2.3}, "loss"}},
                                       {{"a", {1, 2}, {NAN, NAN}, "loss"}},
                                       {{"a", {1, 2}, {0.5, 0.5}, "loss"}},
                                       {{"", {0}, {0}, ""}}}) {
    const std::string svg = curves_svg(curves);
    CHECK(is_well_formed(svg));
    CHECK(count_of("nan", svg) + count_of("inf", svg) == 0);
  }
  CHECK(count_of("<circle", curves_svg({{"a", {1}, {2.3}, "loss"}})) == 1);
}

TEST_CASE("any text is escaped") {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = std::string("a") + static_cast<char>(byte) + "]]>b";
    CHECK(is_well_formed(curves_svg({{text, {1, 2}, {1, 2}, text}}, text)));
  }
  CHECK(count_of("&lt;&amp;&gt;&quot;&apos;\u00e9", curves_svg({{"<&>\"'\u00e9", {}, {}, "p"}})) ==
        1);
}

TEST_CASE("x and y of different length are refused") {
  CHECK_THROWS_AS(curves_svg({{"a", {1, 2}, {1}, "loss"}}), ArgumentError);
}

TEST_CASE("the drawing is written to a file") {
  const TemporaryFolder folder;
  const std::vector<Curve> curves{{"a", {1, 2}, {1, 2}, "loss"}};
  write_curves(folder / "curves.svg", curves, "step");
  CHECK(content_of(folder / "curves.svg") == curves_svg(curves, "step"));
  CHECK_THROWS_AS(write_curves(folder / "missing" / "curves.svg", curves), DataError);
}
