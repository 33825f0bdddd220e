// A function of the caller's, for as long as a call takes.

#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace lockstep {

template <class T, class Other>
concept OtherThan = !std::is_same_v<std::remove_cvref_t<T>, Other>;

template <class Signature>
class FunctionRef;

/// Refers to a callable object that outlives it; never takes memory.
template <class Result, class... Arguments>
class FunctionRef<Result(Arguments...)> {
 public:
  template <OtherThan<FunctionRef> Function>
  FunctionRef(Function&& function) noexcept  // NOLINT: a function is a reference to it
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(function)))),
        call_([](void* object, Arguments... arguments) -> Result {
          return (*static_cast<std::remove_reference_t<Function>*>(object))(
              std::forward<Arguments>(arguments)...);
        }) {}

  Result operator()(Arguments... arguments) const {
    return call_(object_, std::forward<Arguments>(arguments)...);
  }

 private:
  void* object_;
  Result (*call_)(void*, Arguments...);
};

}  // namespace lockstep
