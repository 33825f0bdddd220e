#include "lockstep/train/callback.hpp"

namespace lockstep {

Callback::~Callback() = default;
void Callback::on_step_end(Trainer&, const StepRecord&) {}
void Callback::on_epoch_end(Trainer&, const EpochRecord&) {}
void Callback::on_fit_end(Trainer&, const History&) {}

}  // namespace lockstep
