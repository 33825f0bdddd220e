// The reader takes what has the format, and finds damage in any place.

#include "conformance/folder.hpp"

#include <functional>

#include "conformance/small_group.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

using namespace lockstep;
using namespace lockstep::conformance;
using namespace lockstep::testing;
using nlohmann::json;

namespace {

using Change = std::function<void(json& group)>;

std::vector<Case> cases_of(const std::string& text, const std::string& blob) {
  const TemporaryFolder folder;
  set_content(folder / "small.json", text);
  set_content(folder / "small.bin", blob);
  return cases_in(folder.path(), {});
}

std::vector<Case> cases_after(const Change& change) {
  json group = small_group();
  change(group);
  return cases_of(group.dump(), right_blob);
}

void require_damage(const Change& change, const std::string& reason) {
  const Caught caught = caught_from([&] { (void)cases_after(change); });
  CAPTURE(reason, caught.what);
  CHECK(caught.is(ErrorCode::data));
  CHECK(caught.what.find(reason) != std::string::npos);
}

void require_objection(const Change& change, const std::string& reason) {
  const std::vector<Case> cases = cases_after(change);
  CAPTURE(reason);
  REQUIRE(cases.front().objections.size() == 1);
  CAPTURE(cases.front().objections.front());
  CHECK(cases.front().objections.front().find(reason) != std::string::npos);
}

void require_damaged_case(const Change& change, const std::string& reason) {
  const std::vector<Case> cases = cases_after(change);
  CAPTURE(reason, cases.front().damage);
  CHECK(cases.front().damage.find(reason) != std::string::npos);
  CHECK(cases.front().precisions.size() == 2);
}

}  // namespace

TEST_CASE("a case is read as it is") {
  const std::vector<Case> cases = cases_of(small_group().dump(), right_blob);
  REQUIRE(cases.size() == 1);
  const Case& one = cases.front();
  CHECK(one.id == "small/one");
  CHECK(one.objections.empty());
  CHECK(one.options.momentum == 0.5);
  CHECK(one.splits == std::vector<std::vector<std::int64_t>>{{2}, {1, 1}});
  CHECK(one.precisions == std::vector{DType::float32, DType::float64});
  const Step& step = one.steps.front();
  CHECK(step.inputs.at("x").load().values == std::vector{0.0, 2.0});
  CHECK(step.inputs.at("x").shape == Shape{2, 1});
  CHECK(step.expectations.at("y").tolerances.size() == 2);
  CHECK(step.expectations.at("y").array.load().values == std::vector{-1.0, 1.0});
}

TEST_CASE("an array may be float32 and may repeat") {
  const std::vector<float> values{0.5F, 0.25F};
  std::string blob(reinterpret_cast<const char*>(values.data()), 8);
  const StoredArray array{std::make_shared<const std::string>(std::move(blob)), DType::float32,
                          Shape{3, 2}, 0, 3};
  CHECK(array.load().values == std::vector{0.5, 0.25, 0.5, 0.25, 0.5, 0.25});
}

TEST_CASE("what the format does not know is an objection of the case") {
  require_objection([](json& group) { the_case(group)["opts"]["speed"] = 1; },
                    "unknown option 'speed'");
  require_objection([](json& group) { the_case(group)["init"]["delta"] = 1; },
                    "unknown variable 'delta'");
  require_objection([](json& group) { the_step(group)["in"]["z"] = 1; }, "unknown input 'z'");
  require_objection([](json& group) { the_step(group)["expect"]["z"] = 1; },
                    "unknown expectation 'z'");
  require_objection([](json& group) { the_step(group)["often"] = 1; },
                    "unknown entry of a step 'often'");
}

TEST_CASE("an option that cannot be set is an objection of the case") {
  const auto setting = [](const char* key, const json& value) {
    return [=](json& group) { the_case(group)["opts"][key] = value; };
  };
  require_objection(setting("activation", "relux"), "option 'activation' is \"relux\"");
  require_objection(setting("epsilon", "small"), "option 'epsilon'");
  require_objection(setting("io_dtype", "float8"), "option 'io_dtype'");
  require_objection(setting("moving_variance", "sampled"), "option 'moving_variance'");
  require_objection(setting("renorm_clipping", {{"r", 1}}), "option 'renorm_clipping'");
  require_objection(setting("beta_regularizer", {{"l3", 1}}), "option 'beta_regularizer'");
  require_objection(setting("gamma_constraint", {{"name", "norm"}}), "option 'gamma_constraint'");
}

TEST_CASE("options are those of the layer, and null is their default") {
  const auto options_with = [](const json& more) {
    return cases_after([&](json& group) { the_case(group)["opts"].update(more); }).front().options;
  };
  CHECK(options_with({{"axis", {1, 0}}}).axis == Axes{1, 0});
  CHECK(options_with({{"axis", 0}}).axis == Axes(0));
  CHECK(options_with({{"moving_variance", "bessel"}}).moving_variance == MovingVariance::unbiased);
  CHECK(options_with({{"frozen_behavior", "batch"}}).frozen_mode == FrozenMode::batch_statistics);
  CHECK(options_with({{"io_dtype", "float16"}}).dtype == DType::float16);
  CHECK(options_with({{"renorm_clipping", {{"rmin", 0.5}, {"rmax", nullptr}}}}).renorm_clipping ==
        RenormClipping{.rmin = 0.5});
  const json max_norm{{"name", "max_norm"}, {"max_value", 3}, {"axis", 1}};
  CHECK(std::get<MaxNorm>(options_with({{"gamma_constraint", max_norm}}).gamma_constraint) ==
        MaxNorm{3.0, {1}});
  const json min_max_norm{{"name", "min_max_norm"}, {"rate", 0.5}};
  CHECK(std::get<MinMaxNorm>(options_with({{"beta_constraint", min_max_norm}}).beta_constraint) ==
        MinMaxNorm{0.0, 1.0, 0.5});
  const json penalty{{"l1", 0.5}, {"l2", nullptr}};
  CHECK(std::get<L1L2>(options_with({{"beta_regularizer", penalty}}).beta_regularizer) ==
        L1L2{.l1 = 0.5});
  CHECK(options_with({{"center", nullptr}, {"virtual_batch_size", nullptr}}).center);
  CHECK(options_with({{"momentum", nullptr}}).momentum == std::nullopt);
}

TEST_CASE("a group that is damaged is refused with the place") {
  require_damage([](json& group) { group = "cases"; }, "small.json is damaged");
  require_damage([](json& group) { group["format"] = "bn-cases 2"; },
                 "expected the format 'bn-cases 1'");
  require_damage([](json& group) { group["blob"] = "large.bin"; }, "large.bin cannot be read");
  require_damage([](json& group) { group["blob"] = "../small.bin"; }, "beside the file");
  require_damage([](json& group) { group["cases"].clear(); }, "has no case");
  require_damage([](json& group) { group["cases"].push_back(the_case(group)); },
                 "a second case 'small/one'");
}

TEST_CASE("a case that is damaged does not keep others from being read") {
  require_damaged_case([](json& group) { the_case(group).erase("opts"); },
                       "[json.exception.out_of_range.403] key 'opts'");
  require_damaged_case([](json& group) { the_case(group)["steps"].clear(); }, "no steps");
  require_damaged_case([](json& group) { the_case(group)["run"].clear(); }, "no precision");
  require_damaged_case([](json& group) { the_case(group)["split_axis"] = 2; },
                       "no axis 2 to split");
  require_damaged_case(
      [](json& group) {
        the_case(group)["splits"] = {{-1, 3}};
      },
      "must be a count");
  require_damaged_case([](json& group) { the_step(group)["times"] = 0; }, "at least once");
  require_damaged_case([](json& group) { the_step(group)["in"].erase("x"); }, "no input x");
  require_damaged_case([](json& group) { the_step(group)["expect"]["y"].erase("tol"); }, "tol");
}

TEST_CASE("tolerances are needed for the precisions that the case is meant for") {
  const Change forget = [](json& group) { the_step(group)["expect"]["y"]["tol"].erase("f64"); };
  require_damaged_case(forget, "f64");
  const auto cases = cases_after([&](json& group) {
    forget(group);
    the_case(group)["run"] = {"f32"};
  });
  CHECK(cases.front().steps.front().expectations.at("y").tolerances.size() == 1);
}

TEST_CASE("an array that the blob does not hold is damage") {
  const auto changed = [](const char* key, const json& value) {
    return [=](json& group) { the_step(group)["in"]["x"][key] = value; };
  };
  require_damaged_case(changed("dtype", "i32"), "expected the dtype f32 or f64");
  require_damaged_case(changed("shape", {-2, -1}), "an extent must be a count");
  require_damaged_case(changed("shape", {1 << 30, 1 << 30, 1 << 30}), "cannot repeat");
  require_damaged_case(changed("shape", {6, 1}), "goes beyond the blob");
  require_damaged_case(changed("offset", 25), "goes beyond the blob");
  require_damaged_case(changed("offset", 1000), "goes beyond the blob");
  require_damaged_case(changed("offset", -8), "an offset must be a count");
  require_damaged_case(changed("repeat", 3), "cannot repeat 3 times");
  require_damaged_case(changed("repeat", 0), "cannot repeat 0 times");
}

TEST_CASE("what a case leaves out is nothing") {
  const auto cases = cases_after([](json& group) {
    json& one = the_case(group);
    for (const char* key : {"tags", "splits", "split_axis"}) one.erase(key);
    one["opts"]["speed"] = nullptr;
    one["init"]["moving_stddev"] = one["init"]["gamma"];
    the_step(group)["expect"]["dx"] = nullptr;
  });
  CHECK(cases.front().objections.empty());
  CHECK_FALSE(cases.front().is_optional);
  CHECK(cases.front().splits.empty());
  CHECK(cases.front().split_axis == 0);
  CHECK(cases.front().steps.front().expectations.size() == 2);
}

TEST_CASE("a file that is cut short anywhere is damage") {
  const std::string text = small_group().dump();
  for (const std::size_t length : {std::size_t{0}, text.size() / 2, text.size() - 1})
    CHECK(caught_from([&] {
            (void)cases_of(text.substr(0, length), right_blob);
          }).is(ErrorCode::data));
  CHECK_FALSE(cases_of(text, right_blob.substr(0, 39)).front().damage.empty());
}

TEST_CASE("only the groups that are named are read, and they must be there") {
  const TemporaryFolder folder;
  set_content(folder / "small.json", small_group().dump());
  set_content(folder / "small.bin", right_blob);
  set_content(folder / "other.json", "{}");  // no group, so not to be read unless asked for
  CHECK(cases_in(folder.path(), {"small"}).size() == 1);
  CHECK(cases_in(folder.path(), {}).size() == 1);
  CHECK(caught_from([&] { (void)cases_in(folder.path(), {"other"}); }).is(ErrorCode::data));
  CHECK(caught_from([&] { (void)cases_in(folder.path(), {"large"}); }).is(ErrorCode::data));
  CHECK(caught_from([&] { (void)cases_in(folder / "none", {}); }).is(ErrorCode::data));
}
