// What is common to all that is computed by oneDNN: threads, scratch memory, errors, plans.

#pragma once

#include <dnnl.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace lockstep::onednn {

/// For as long as it lives oneDNN uses one thread, or OMP_NUM_THREADS where the user has set that.
/// Other threads of the program, and this one afterwards, keep their own OpenMP settings.
class ThreadLimit {
 public:
  ThreadLimit() noexcept;
  ~ThreadLimit();
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

  /// That oneDNN uses now. Primitives are made for one number of threads.
  [[nodiscard]] static int num_threads() noexcept;

 private:
  int num_threads_before_;
};

[[nodiscard]] const dnnl::engine& engine();

/// Scratch memory is the caller's; with `is_added` the result is added to what is there.
[[nodiscard]] dnnl::primitive_attr attributes(bool is_added = false);

/// Throws MemoryError or ForeignError that says that oneDNN failed in `what`.
[[noreturn]] void fail(const std::string& what, dnnl_status_t status);

/// Calls `body`; errors of oneDNN become those of the library.
template <class Body>
decltype(auto) translate_errors(const std::string& what, Body&& body) {
  try {
    return body();
  } catch (const dnnl::error& error) {
    fail(what, error.status);
  }
}

enum class Role : std::uint8_t { input, output, added_output };

/// One argument of a primitive. It is reordered on its way where the two formats differ.
struct Operand {
  int argument;              ///< DNNL_ARG_SRC, ...
  dnnl::memory::desc outer;  ///< as it lies in the caller's memory
  dnnl::memory::desc inner;  ///< as the primitive takes it
  Role role = Role::input;
};

/// A primitive and the reorders around it, made once and run often, in Scratch memory.
class Plan {
 public:
  /// `what` names it in errors.
  Plan(std::string what, const dnnl::primitive& primitive, const dnnl::memory::desc& scratchpad,
       std::initializer_list<Operand> operands);

  /// `data` of every operand in their order; inputs are not written to.
  void run(std::initializer_list<const void*> data);

 private:
  struct Place {
    dnnl::memory memory;
    void* data;          // where the memory is now
    std::size_t offset;  // in scratch memory, unless it is an operand's
  };
  struct Step {
    dnnl::primitive primitive;
    std::vector<dnnl_exec_arg_t> arguments;
  };

  std::size_t add_place(const dnnl::memory::desc& descriptor, bool is_scratch);
  void add_reorder(std::size_t from, std::size_t to, bool is_added);
  void move_to(Place& place, void* data);

  std::string what_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  std::vector<Place> places_;  // those of operands first
  std::vector<Step> steps_;
  std::size_t num_operands_;
  std::size_t scratch_size_ = 0;  // bytes
};

}  // namespace lockstep::onednn
