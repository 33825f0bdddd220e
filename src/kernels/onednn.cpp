#include "kernels/onednn.hpp"

#include <dnnl_debug.h>
#include <spdlog/fmt/fmt.h>

#include <cstdlib>
#include <utility>

#include "base/arena.hpp"
#include "lockstep/base/error.hpp"

// Of the OpenMP that oneDNN uses, which need not be the compiler's own.
extern "C" {
int omp_get_max_threads();
void omp_set_num_threads(int num_threads);
}

namespace lockstep::onednn {

ThreadLimit::ThreadLimit() noexcept : num_threads_before_(omp_get_max_threads()) {
  static const bool is_set_by_user = std::getenv("OMP_NUM_THREADS") != nullptr;
  if (!is_set_by_user) omp_set_num_threads(1);
}

ThreadLimit::~ThreadLimit() { omp_set_num_threads(num_threads_before_); }

int ThreadLimit::num_threads() noexcept { return omp_get_max_threads(); }

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::primitive_attr attributes(bool is_added) {
  dnnl::primitive_attr result;
  result.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (!is_added) return result;
  dnnl::post_ops sum;
  sum.append_sum();
  result.set_post_ops(sum);
  return result;
}

void fail(const std::string& what, dnnl_status_t status) {
  const auto code = status == dnnl_out_of_memory ? ErrorCode::memory : ErrorCode::foreign;
  throw_error(code, fmt::format("oneDNN failed in {}: {}; its environment variable "
                                "ONEDNN_VERBOSE=1 shows more",
                                what, dnnl_status2str(status)));
}

Plan::Plan(std::string what, const dnnl::primitive& primitive, const dnnl::memory::desc& scratchpad,
           std::initializer_list<Operand> operands)
    : what_(std::move(what)), engine_(engine()), stream_(engine_), num_operands_(operands.size()) {
  for (const Operand& operand : operands) add_place(operand.outer, false);
  Step main{primitive, {}};
  std::vector<std::pair<std::size_t, const Operand*>> results;  // to be reordered at the end
  std::size_t outer = 0;
  for (const Operand& operand : operands) {
    std::size_t place = outer;
    if (operand.inner != operand.outer || operand.role == Role::added_output) {
      place = add_place(operand.inner, true);
      if (operand.role == Role::input)
        add_reorder(outer, place, false);
      else
        results.emplace_back(place, &operand);
    }
    main.arguments.push_back({operand.argument, places_[place].memory.get()});
    ++outer;
  }
  const std::size_t scratch = add_place(scratchpad, true);
  main.arguments.push_back({DNNL_ARG_SCRATCHPAD, places_[scratch].memory.get()});
  steps_.push_back(std::move(main));
  for (const auto& [place, operand] : results)
    add_reorder(place, static_cast<std::size_t>(operand - operands.begin()),
                operand->role == Role::added_output);
}

std::size_t Plan::add_place(const dnnl::memory::desc& descriptor, bool is_scratch) {
  places_.push_back({dnnl::memory(descriptor, engine_, DNNL_MEMORY_NONE), nullptr, scratch_size_});
  if (is_scratch) scratch_size_ += in_cache_lines(descriptor.get_size());
  return places_.size() - 1;
}

void Plan::add_reorder(std::size_t from, std::size_t to, bool is_added) {
  const dnnl::reorder::primitive_desc reorder(engine_, places_[from].memory.get_desc(), engine_,
                                              places_[to].memory.get_desc(), attributes(is_added));
  const std::size_t scratch = add_place(reorder.scratchpad_desc(), true);
  steps_.push_back({dnnl::reorder(reorder),
                    {{DNNL_ARG_FROM, places_[from].memory.get()},
                     {DNNL_ARG_TO, places_[to].memory.get()},
                     {DNNL_ARG_SCRATCHPAD, places_[scratch].memory.get()}}});
}

void Plan::move_to(Place& place, void* data) {
  if (place.data == data) return;
  place.memory.set_data_handle(data);
  place.data = data;
}

void Plan::run(std::initializer_list<const void*> data) {
  const ThreadLimit limit;
  translate_errors(what_, [&] {
    Scratch memory;
    std::byte* const scratch = memory.take(scratch_size_);
    std::size_t index = 0;
    // oneDNN does not tell memory that it reads from memory that it writes.
    for (const void* operand : data) move_to(places_[index++], const_cast<void*>(operand));
    for (; index < places_.size(); ++index)
      move_to(places_[index], scratch + places_[index].offset);
    for (const Step& step : steps_) {
      const auto status =
          dnnl_primitive_execute(step.primitive.get(), stream_.get(),
                                 static_cast<int>(step.arguments.size()), step.arguments.data());
      if (status != dnnl_success) throw dnnl::error(status, "execution");
    }
    stream_.wait();
  });
}

}  // namespace lockstep::onednn
