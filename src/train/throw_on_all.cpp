#include "train/throw_on_all.hpp"

#include <memory>

namespace lockstep {

void throw_on_all(const Communicator& group, const Meeting& meeting, ErrorCode code,
                  const std::string& text) {
  throw_error(code, text,
              std::make_shared<ErrorOrigin>(ErrorOrigin{.rank = 0,
                                                        .num_ranks = group.size(),
                                                        .is_here = group.rank() == 0,
                                                        .host = host_name(),
                                                        .layer = meeting.layer,
                                                        .phase = meeting.phase,
                                                        .step = meeting.step,
                                                        .cause = text}));
}

}  // namespace lockstep
