// The checksum is the published one, whatever the pieces in which bytes come.

#include "io/crc32c.hpp"

#include <string_view>
#include <vector>

#include "base/random.hpp"
#include "support/catch.hpp"

using namespace lockstep;

namespace {

std::uint32_t checksum_of(std::string_view text) { return crc32c(std::as_bytes(std::span(text))); }

}  // namespace

TEST_CASE("the checksum has the published values") {
  CHECK(checksum_of("") == 0);
  CHECK(checksum_of("123456789") == 0xe3069283);
  // RFC 3720, appendix B.4.
  CHECK(crc32c(std::vector(32, std::byte{0})) == 0x8a9136aa);
  CHECK(crc32c(std::vector(32, std::byte{0xff})) == 0x62a8ab43);
}

TEST_CASE("the checksum of bytes does not depend on the pieces in which they come") {
  std::vector<std::byte> bytes(67);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(RandomKey(1).bits(i) & 0xff);
  const std::span<const std::byte> all = bytes;
  for (std::size_t first = 0; first <= all.size(); ++first)
    for (std::size_t count = 0; first + count <= all.size(); ++count) {
      const std::uint32_t before = crc32c(all.first(first));
      const std::uint32_t between = crc32c(all.subspan(first, count), before);
      REQUIRE(crc32c(all.subspan(first + count), between) == crc32c(all));
    }
}
