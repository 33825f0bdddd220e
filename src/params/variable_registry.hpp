// What a store of variables holds.

#pragma once

#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lockstep/params/update_source.hpp"
#include "lockstep/params/variable.hpp"
#include "lockstep/params/variable_store.hpp"

namespace lockstep {

using NameSet = std::set<std::string, std::less<>>;

/// Variables, each under a name of its own, and collections.
class VariableRegistry {
 public:
  [[nodiscard]] const std::vector<std::shared_ptr<Variable>>& variables() const noexcept {
    return variables_;
  }
  /// Null when there is none of this name.
  [[nodiscard]] std::shared_ptr<Variable> find(std::string_view full_name) const noexcept;
  /// Takes a variable in, unless it is there, and adds it to collections.
  void add(const std::shared_ptr<Variable>& variable, std::span<const std::string> collections);
  [[nodiscard]] bool is_in(std::string_view collection, const Variable& variable) const noexcept;

  /// Collections of what layers own; it leaves with its layer.
  void add_output(const std::string& collection, const std::shared_ptr<CollectedOutput>& output);
  void add_updates(const std::string& collection, const std::shared_ptr<UpdateSource>& updates);
  [[nodiscard]] std::vector<CollectedOutput> outputs(std::string_view collection) const;
  void apply_updates(std::string_view collection) noexcept;

  /// Names of layers that are taken.
  [[nodiscard]] const std::shared_ptr<NameSet>& layer_names() const noexcept {
    return layer_names_;
  }

 private:
  template <class T>
  using Collections = std::map<std::string, std::vector<std::weak_ptr<T>>, std::less<>>;

  std::vector<std::shared_ptr<Variable>> variables_;
  std::map<std::string, std::set<const Variable*>, std::less<>> collections_;
  Collections<CollectedOutput> outputs_;
  Collections<UpdateSource> updates_;
  std::shared_ptr<NameSet> layer_names_ = std::make_shared<NameSet>();
};

}  // namespace lockstep
