// A device of torch that has no float64 and does not mix with tensors of the CPU, as Apple GPUs. Its tensors lie in the
// memory of the CPU, which computes everything.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/TensorFactories.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/extension.h>
#include <torch/library.h>

#include <cstring>

namespace {

using at::IntArrayRef;
using at::SymIntArrayRef;
using at::Tensor;
using std::optional;

constexpr auto KIND = c10::DeviceType::PrivateUse1;
const c10::DispatchKeySet KEYS(c10::DispatchKey::PrivateUse1);

void refuse_float64(c10::ScalarType type) {
  TORCH_CHECK_TYPE(type != c10::ScalarType::Double, "the pretended GPU has no float64");
}

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* data = c10::alloc_cpu(bytes);
    return {data, data, &c10::free_cpu, c10::Device(KIND, 0)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &c10::free_cpu; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }
};
Memory memory;
REGISTER_ALLOCATOR(KIND, &memory);

struct Guard final : c10::impl::DeviceGuardImplInterface {
  static constexpr c10::DeviceType static_type = KIND;
  c10::DeviceType type() const override { return KIND; }
  c10::Device exchangeDevice(c10::Device) const override { return {KIND, 0}; }
  c10::Device getDevice() const override { return {KIND, 0}; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, {KIND, 0}); }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Hooks final : at::PrivateUse1HooksInterface {
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    static const auto generator = at::detail::createCPUGenerator();
    return generator;
  }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  bool isAvailable() const override { return true; }
  bool isPinnedPtr(const void*) const override { return false; }
};

// The same memory as a tensor of the CPU.
Tensor on_cpu(const Tensor& x) {
  if (x.is_cpu()) return x;
  return at::from_blob(x.data_ptr(), x.sizes(), x.strides(), x.options().device(at::kCPU).requires_grad(false));
}

Tensor on_device(const Tensor& x) { return x.defined() ? x.to(c10::Device(KIND, 0)) : x; }

Tensor empty(IntArrayRef size, optional<at::ScalarType> dtype, optional<at::Layout>, optional<at::Device>,
             optional<bool>, optional<at::MemoryFormat> format) {
  const auto type = dtype.value_or(c10::get_default_dtype_as_scalartype());
  refuse_float64(type);
  return at::detail::empty_generic(size, &memory, KEYS, type, format);
}

Tensor empty_strided(IntArrayRef size, IntArrayRef stride, optional<at::ScalarType> dtype, optional<at::Layout>,
                     optional<at::Device>, optional<bool>) {
  const auto type = dtype.value_or(c10::get_default_dtype_as_scalartype());
  refuse_float64(type);
  return at::detail::empty_strided_generic(size, stride, &memory, KEYS, type);
}

const Tensor& resize_(const Tensor& self, SymIntArrayRef size, optional<at::MemoryFormat> format) {
  return at::native::resize_(self, C10_AS_INTARRAYREF_SLOW(size), format);
}

// Whether an Apple GPU can copy to another type on the CPU is not known, so float64 is refused there, too.
Tensor copy_from(const Tensor& self, const Tensor& to, bool) {
  if (!self.is_cpu() && self.scalar_type() != to.scalar_type()) refuse_float64(to.scalar_type());
  on_cpu(to).copy_(on_cpu(self));
  return to;
}

Tensor copy_from_and_resize(const Tensor& self, const Tensor& to) {
  if (self.sizes() != to.sizes()) at::native::resize_(to, self.sizes(), std::nullopt);
  on_cpu(to).copy_(on_cpu(self));
  return to;
}

at::Scalar item(const Tensor& self) { return on_cpu(self).item(); }

Tensor as_strided(const Tensor& self, SymIntArrayRef size, SymIntArrayRef stride, optional<c10::SymInt> offset) {
  const auto place = offset.has_value() ? optional<int64_t>(offset->expect_int()) : std::nullopt;
  return at::native::as_strided_tensorimpl(self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), place);
}

Tensor view(const Tensor& self, SymIntArrayRef size) { return at::native::view(self, C10_AS_INTARRAYREF_SLOW(size)); }

Tensor reshape_alias(const Tensor& self, SymIntArrayRef size, SymIntArrayRef stride) {
  return at::native::_reshape_alias(self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride));
}

Tensor unfold(const Tensor& self, int64_t dim, int64_t size, int64_t step) {
  return at::native::unfold(self, dim, size, step);
}

Tensor convolution(const Tensor& x, const Tensor& weight, const optional<Tensor>& bias, SymIntArrayRef stride,
                   SymIntArrayRef padding, SymIntArrayRef dilation, bool transposed, SymIntArrayRef output_padding,
                   at::SymInt groups) {
  optional<Tensor> shift;
  if (bias.has_value() && bias->defined()) shift = on_cpu(*bias);
  return on_device(at::convolution_symint(on_cpu(x), on_cpu(weight), shift, stride, padding, dilation, transposed,
                                          output_padding, groups));
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(const Tensor& gradient, const Tensor& x, const Tensor& weight,
                                                        SymIntArrayRef stride, SymIntArrayRef padding,
                                                        SymIntArrayRef dilation, bool transposed,
                                                        SymIntArrayRef output_padding, at::SymInt groups,
                                                        std::array<bool, 3> mask) {
  const std::vector<c10::SymInt> shifts{transposed ? weight.sym_size(1) * groups : weight.sym_size(0)};
  const auto [of_x, of_weight, of_bias] = at::convolution_backward_symint(
      on_cpu(gradient), on_cpu(x), on_cpu(weight), at::OptionalSymIntArrayRef(shifts), stride, padding, dilation,
      transposed, output_padding, groups, mask);
  return {on_device(of_x), on_device(of_weight), on_device(of_bias)};
}

// Every other operation: computed with copies on the CPU, if no tensor but scalars and indices is there already.
void compute_on_cpu(const c10::OperatorHandle& operation, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const auto name = c10::toString(operation.operator_name());
  bool has_cpu = false, has_device = false;
  const auto look = [&](const Tensor& x) {
    if (!x.defined()) return;
    has_cpu |= x.is_cpu() && x.dim() > 0;
    has_device |= !x.is_cpu();
  };
  for (const auto& value : torch::jit::last(*stack, operation.schema().arguments().size())) {
    if (value.isTensor()) look(value.toTensor());
    if (value.isTensorList())
      for (const auto& x : value.toTensorVector()) look(x);
  }
  TORCH_CHECK(!(has_cpu && has_device) || name.find("aten::index") == 0, name, " has tensors on two devices");
  at::native::cpu_fallback(operation, stack);
}

}  // namespace

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("resize_", &resize_);
  library.impl("_copy_from", &copy_from);
  library.impl("_copy_from_and_resize", &copy_from_and_resize);
  library.impl("_local_scalar_dense", &item);
  library.impl("as_strided", &as_strided);
  library.impl("view", &view);
  library.impl("_reshape_alias", &reshape_alias);
  library.impl("unfold", &unfold);
  library.impl("convolution_overrideable", &convolution);
  library.impl("convolution_backward_overrideable", &convolution_backward);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&compute_on_cpu>());
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) { at::RegisterPrivateUse1HooksInterface(new Hooks()); }
