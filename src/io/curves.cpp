#include "lockstep/io/curves.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "io/axis.hpp"
#include "io/xml_text.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/io/file.hpp"

namespace lockstep {
namespace {

// Lengths in pixels. The plot is the rectangle that curves are drawn in.
constexpr double panel_width = 440.0;
constexpr double panel_height = 320.0;
constexpr double plot_left = 64.0;
constexpr double plot_top = 56.0;
constexpr double plot_right = panel_width - 16.0;
constexpr double plot_bottom = panel_height - 48.0;

// Colours that are readable on white and on black.
constexpr std::string_view text_colour = "#767676";
constexpr std::string_view centred = " text-anchor='middle'";
constexpr std::array<std::string_view, 6> curve_colours{"#2b7bba", "#d9662b", "#2f9155",
                                                        "#a860b8", "#a5801f", "#c94a5f"};

struct Panel {
  std::string title;
  std::vector<const Curve*> curves;
  Axis x, y;

  [[nodiscard]] double left_of(double value) const {
    return plot_left + x.position_of(value) * (plot_right - plot_left);
  }
  [[nodiscard]] double top_of(double value) const {
    return plot_bottom - y.position_of(value) * (plot_bottom - plot_top);
  }
};

template <class... Arguments>
void add(std::string& svg, fmt::format_string<Arguments...> text, Arguments&&... arguments) {
  fmt::format_to(std::back_inserter(svg), text, std::forward<Arguments>(arguments)...);
}

// The values of one coordinate of all points of some curves that can be drawn.
std::vector<double> drawn(const std::vector<const Curve*>& curves,
                          std::vector<double> Curve::*coordinate) {
  std::vector<double> values;
  for (const Curve* curve : curves)
    for (std::size_t i = 0; i < curve->x.size(); ++i)
      if (can_be_drawn(curve->x[i]) && can_be_drawn(curve->y[i]))
        values.push_back((curve->*coordinate)[i]);
  return values;
}

std::vector<Panel> panels_of(const std::vector<Curve>& curves) {
  std::vector<Panel> panels;
  for (const Curve& curve : curves) {
    if (curve.x.size() != curve.y.size())
      throw ArgumentError(fmt::format("curve '{}' has {} values of x and {} of y", curve.label,
                                      curve.x.size(), curve.y.size()));
    auto panel = std::find_if(panels.begin(), panels.end(),
                              [&](const Panel& known) { return known.title == curve.panel; });
    if (panel == panels.end()) panel = panels.insert(panel, Panel{curve.panel, {}, {}, {}});
    panel->curves.push_back(&curve);
  }
  for (Panel& panel : panels) {
    panel.x = tight_axis(drawn(panel.curves, &Curve::x));
    panel.y = round_axis(drawn(panel.curves, &Curve::y));
  }
  return panels;
}

void add_text(std::string& svg, double left, double top, std::string_view attributes,
              std::string_view text) {
  add(svg, "<text x='{:.1f}' y='{:.1f}' stroke='none' fill='{}'{}>{}</text>\n", left, top,
      text_colour, attributes, xml_text(text));
}

void add_axes(std::string& svg, const Panel& panel, const std::string& x_label) {
  add_text(svg, plot_left, 22.0, " font-size='15' font-weight='bold'", panel.title);
  for (const double tick : panel.y.ticks) {
    const double top = panel.top_of(tick);
    add(svg, "<path d='M{:.1f} {:.1f}H{:.1f}' stroke-opacity='0.3'/>\n", plot_left, top,
        plot_right);
    add_text(svg, plot_left - 8.0, top + 4.0, " text-anchor='end'", fmt::format("{:.6g}", tick));
  }
  for (const double tick : panel.x.ticks) {
    const double left = panel.left_of(tick);
    add(svg, "<path d='M{:.1f} {:.1f}v5'/>\n", left, plot_bottom);
    add_text(svg, left, plot_bottom + 19.0, centred, fmt::format("{:.6g}", tick));
  }
  add(svg, "<path d='M{:.1f} {:.1f}V{:.1f}H{:.1f}'/>\n", plot_left, plot_top, plot_bottom,
      plot_right);
  add_text(svg, 0.5 * (plot_left + plot_right), plot_bottom + 38.0, centred, x_label);
}

// Stretches of neighbouring points are lines, a point between gaps is a dot.
void add_curve(std::string& svg, const Panel& panel, const Curve& curve, std::string_view colour) {
  const auto is_drawn = [&](std::size_t i) {
    return i < curve.x.size() && can_be_drawn(curve.x[i]) && can_be_drawn(curve.y[i]);
  };
  std::string lines;
  for (std::size_t i = 0; i < curve.x.size(); ++i) {
    if (!is_drawn(i)) continue;
    const double left = panel.left_of(curve.x[i]);
    const double top = panel.top_of(curve.y[i]);
    const bool is_first = i == 0 || !is_drawn(i - 1);
    if (is_first && !is_drawn(i + 1))
      add(svg, "<circle cx='{:.1f}' cy='{:.1f}' r='3' fill='{}' stroke='none'/>\n", left, top,
          colour);
    else
      add(lines, "{}{:.1f} {:.1f}", is_first ? 'M' : 'L', left, top);
  }
  if (!lines.empty())
    add(svg, "<path d='{}' stroke='{}' stroke-width='2' stroke-linejoin='round'/>\n", lines,
        colour);
}

std::size_t colour_index_of(const std::vector<Curve>& curves, const std::string& label) {
  std::vector<std::string> labels;
  for (const Curve& curve : curves)
    if (std::find(labels.begin(), labels.end(), curve.label) == labels.end())
      labels.push_back(curve.label);
  const auto place = std::find(labels.begin(), labels.end(), label) - labels.begin();
  return static_cast<std::size_t>(place) % curve_colours.size();
}

void add_panel(std::string& svg, const Panel& panel, const std::vector<Curve>& curves,
               const std::string& x_label) {
  add_axes(svg, panel, x_label);
  double left = plot_left;
  for (const Curve* curve : panel.curves) {
    const std::string_view colour = curve_colours[colour_index_of(curves, curve->label)];
    add_curve(svg, panel, *curve, colour);
    add(svg, "<path d='M{:.1f} 38h18' stroke='{}' stroke-width='3'/>\n", left, colour);
    add_text(svg, left + 24.0, 42.0, "", curve->label);
    left += 48.0 + 7.0 * static_cast<double>(curve->label.size());  // 7: about one letter
  }
}

}  // namespace

std::string curves_svg(const std::vector<Curve>& curves, const std::string& x_label) {
  const std::vector<Panel> panels = panels_of(curves);
  const double width = panel_width * static_cast<double>(std::max<std::size_t>(panels.size(), 1));
  std::string svg;
  add(svg,
      "<svg xmlns='http://www.w3.org/2000/svg' width='{0}' height='{1}' viewBox='0 0 {0} {1}' "
      "role='img' font-family='sans-serif' font-size='12'>\n",
      width, panel_height);
  std::string titles;
  for (const Panel& panel : panels) titles += (titles.empty() ? "" : ", ") + panel.title;
  add(svg, "<title>{} per {}</title>\n", xml_text(titles.empty() ? "Nothing" : titles),
      xml_text(x_label));
  for (std::size_t i = 0; i < panels.size(); ++i) {
    add(svg, "<g transform='translate({} 0)' fill='none' stroke='{}'>\n",
        panel_width * static_cast<double>(i), text_colour);
    add_panel(svg, panels[i], curves, x_label);
    svg += "</g>\n";
  }
  return svg + "</svg>\n";
}

void write_curves(const std::filesystem::path& path, const std::vector<Curve>& curves,
                  const std::string& x_label) {
  write_file(path, curves_svg(curves, x_label));
}

}  // namespace lockstep
