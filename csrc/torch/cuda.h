// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/device.h"
#include "tensor.h"

#if !defined(MIRAGE_EMULATE)
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/headeronly/util/shim_utils.h>
#endif

// Where kernels run, and how they are launched. Only Pinned, in pinned.h, waits for a device. Under MIRAGE_EMULATE
// (tests only) a launch runs the grid on the host before it returns, and the operations are registered in a library of
// their own.
namespace mirage {

#if defined(MIRAGE_EMULATE)

struct OnDevice {
  cudaStream_t stream = nullptr;
  explicit OnDevice(const Tensor&) {}
};

inline void fill_bytes(void* at, int value, size_t bytes, cudaStream_t) {
  if (!bytes) return;
  ++::emulation::operations.fills;
  __builtin_memset(at, value, bytes);
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t,
            const Arguments&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  ::emulation::run_grid(grid, block, shared_bytes, [&] { kernel(static_cast<Parameters>(arguments)...); });
}

#define MIRAGE_REGISTER_CUDA(m) STABLE_TORCH_LIBRARY_IMPL(mirage_kernels_emulated, CPU, m)

#else

inline void check_cuda(cudaError_t error) {
  STD_TORCH_CHECK(error == cudaSuccess, "mirage_kernels: CUDA: ", cudaGetErrorString(error));
}

// torch's current stream. A torch without CUDA has no such function, and this binary serves it too; one with CUDA keeps
// it in a library that is nobody's but its own, where neither a weak symbol nor the global scope would find it.
inline cudaStream_t current_stream(int32_t device) {
  using Getter = AOTITorchError (*)(int32_t, void**);
  static const Getter getter = [] {
    void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
    return reinterpret_cast<Getter>(dlsym(library ? library : RTLD_DEFAULT, "aoti_torch_get_current_cuda_stream"));
  }();
  guard(getter != nullptr, "this torch was built without CUDA");
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(getter(device, &stream));
  return static_cast<cudaStream_t>(stream);
}

// Makes a tensor's device the current one while it lives, and names the stream to launch on.
struct OnDevice {
  torch::stable::accelerator::DeviceGuard device;
  cudaStream_t stream;
  explicit OnDevice(const Tensor& like)
      : device(like.get_device_index()), stream(current_stream(like.get_device_index())) {}
};

inline void fill_bytes(void* at, int value, size_t bytes, cudaStream_t stream) {
  if (bytes) check_cuda(cudaMemsetAsync(at, value, bytes, stream));
}

constexpr size_t kSharedUnasked = 48 << 10;  // dynamic shared memory that a launch has without asking

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            const Arguments&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (shared_bytes > kSharedUnasked) {
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared_bytes)));
  }
  kernel<<<grid, block, shared_bytes, stream>>>(static_cast<Parameters>(arguments)...);
  check_cuda(cudaGetLastError());
}

#define MIRAGE_REGISTER_CUDA(m) STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CUDA, m)

#endif

// A limit on blocks or workspace, which tests exceed with few elements.
constexpr int64_t limit_of([[maybe_unused]] int64_t on_device, [[maybe_unused]] int64_t in_tests) {
#if defined(MIRAGE_EMULATE)
  return in_tests;
#else
  return on_device;
#endif
}

// A grid of this many blocks along x, the axis that takes 2^31 - 1 of them.
inline unsigned blocks_of(int64_t items, int64_t per_block) {
  const int64_t blocks = ceil_div(items, per_block);
  guard(blocks <= INT32_MAX, "too many elements for one call");
  return static_cast<unsigned>(blocks);
}

// Kernels follow pointers wherever they lead: all tensors of a call must lie on one device.
inline void guard_device(const Tensor& like, std::initializer_list<const Tensor*> others) {
  for (const Tensor* other : others)
    guard(!other || (other->is_cuda() == like.is_cuda() && other->get_device_index() == like.get_device_index()),
          "all tensors must be on one device");
}

inline const Tensor* pointer_to(const OptionalTensor& t) {
  return t ? &*t : nullptr;
}

}  // namespace mirage
