// One hierarchy of errors: code, type and message belong together.

#include "lockstep/base/error.hpp"

#include <array>
#include <memory>
#include <string>
#include <type_traits>

#include "support/catch.hpp"

namespace lockstep {
namespace {

constexpr std::array all_codes{ErrorCode::foreign, ErrorCode::argument,   ErrorCode::mismatch,
                               ErrorCode::state,   ErrorCode::non_finite, ErrorCode::communication,
                               ErrorCode::data,    ErrorCode::memory};

// True when throwing `code` is caught as `Caught`.
template <class Caught>
bool is_caught_as(ErrorCode code) {
  try {
    throw_error(code, "reason");
  } catch (const Caught&) {
    return true;
  } catch (...) {
    return false;
  }
}

// The codes that arrive as `Caught`, as a string of digits.
template <class Caught>
std::string codes_caught_as() {
  std::string codes;
  for (const ErrorCode code : all_codes)
    if (is_caught_as<Caught>(code)) codes += std::to_string(static_cast<int>(code));
  return codes;
}

TEST_CASE("error: each type catches exactly its own code") {
  CHECK(codes_caught_as<ForeignError>() == "1");
  CHECK(codes_caught_as<ArgumentError>() == "2");
  CHECK(codes_caught_as<MismatchError>() == "3");
  CHECK(codes_caught_as<StateError>() == "4");
  CHECK(codes_caught_as<NonFiniteError>() == "5");
  CHECK(codes_caught_as<CommunicationError>() == "6");
  CHECK(codes_caught_as<DataError>() == "7");
  CHECK(codes_caught_as<MemoryError>() == "8");
}

TEST_CASE("error: the bases catch every code") {
  CHECK(codes_caught_as<Error>() == "12345678");
  CHECK(codes_caught_as<std::runtime_error>() == "12345678");
}

TEST_CASE("error: code, message and origin arrive as they were thrown") {
  const auto origin = std::make_shared<const ErrorOrigin>(
      ErrorOrigin{.rank = 3, .host = "node", .layer = "bn", .phase = "forward", .cause = "why"});
  for (const ErrorCode code : all_codes) {
    try {
      throw_error(code, "what happened", origin);
    } catch (const Error& error) {
      CHECK(error.code() == code);
      CHECK(std::string(error.what()) == "what happened");
      CHECK(error.is_agreed());
      REQUIRE(error.origin() == origin.get());
    }
  }
}

TEST_CASE("error: without an origin an error is this rank's own") {
  const ArgumentError error("local");
  CHECK_FALSE(error.is_agreed());
  CHECK(error.origin() == nullptr);
  CHECK(ErrorOrigin{}.step == -1);
  CHECK(ErrorOrigin{}.channel == -1);
}

TEST_CASE("error: a code from nowhere becomes a foreign error") {
  CHECK(is_caught_as<ForeignError>(static_cast<ErrorCode>(99)));
  CHECK(is_caught_as<ForeignError>(static_cast<ErrorCode>(0)));
}

TEST_CASE("error: errors can be copied while they fly") {
  STATIC_REQUIRE(std::is_nothrow_copy_constructible_v<ArgumentError>);
}

}  // namespace
}  // namespace lockstep
