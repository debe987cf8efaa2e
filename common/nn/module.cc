#include "common/nn/module.h"

#include <c10/util/Exception.h>

namespace repro {

void Module::CheckName(const std::string& name) const {
  TORCH_CHECK(!name.empty() && name.find('.') == std::string::npos, "module: '",
              name, "' is no name: it is empty or has a dot");
  const auto used = [&](const auto& list) {
    for (const auto& entry : list) {
      if (entry.first == name) return true;
    }
    return false;
  };
  TORCH_CHECK(!used(parameters_) && !used(buffers_) && !used(children_),
              "module: the name '", name, "' is used twice");
}

at::Tensor Module::AddParameter(std::string name, at::Tensor value) {
  CheckName(name);
  TORCH_CHECK(value.defined(), "module: parameter '", name, "' is undefined");
  // The caller's tensor may be shared or part of a graph; this one is neither.
  at::Tensor parameter = value.detach().requires_grad_();
  parameters_.emplace_back(std::move(name), parameter);
  return parameter;
}

at::Tensor Module::AddBuffer(std::string name, at::Tensor value) {
  CheckName(name);
  TORCH_CHECK(value.defined(), "module: buffer '", name, "' is undefined");
  at::Tensor buffer = value.detach();
  buffers_.emplace_back(std::move(name), buffer);
  return buffer;
}

void Module::AddChild(std::string name, std::unique_ptr<Module> child) {
  CheckName(name);
  children_.emplace_back(std::move(name), std::move(child));
}

void Module::Collect(const std::string& prefix, NamedTensors Module::*own,
                     NamedTensors* out) const {
  for (const auto& [name, tensor] : this->*own) {
    out->emplace_back(prefix + name, tensor);
  }
  for (const auto& [name, child] : children_) {
    child->Collect(prefix + name + ".", own, out);
  }
}

NamedTensors Module::NamedParameters() const {
  NamedTensors out;
  Collect("", &Module::parameters_, &out);
  return out;
}

NamedTensors Module::NamedBuffers() const {
  NamedTensors out;
  Collect("", &Module::buffers_, &out);
  return out;
}

std::vector<at::Tensor> Module::Parameters() const {
  std::vector<at::Tensor> out;
  for (auto& [name, tensor] : NamedParameters()) out.push_back(tensor);
  return out;
}

void Module::Train(bool on) {
  training_ = on;
  for (auto& [name, child] : children_) child->Train(on);
}

void Module::To(at::TensorOptions options) {
  NamedTensors all = NamedParameters();
  for (auto& entry : NamedBuffers()) all.push_back(entry);
  for (auto& [name, tensor] : all) {
    if (tensor.is_floating_point()) {
      tensor.set_data(tensor.detach().to(options));
    }
  }
}

}  // namespace repro
