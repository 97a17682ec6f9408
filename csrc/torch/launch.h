// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dlfcn.h>

#include "check_cuda.h"

// Where kernels run, and how they are launched. (The tests replace this header: include it by its full path.)
namespace mirage {

// torch's current stream. A torch without CUDA has no such function, and this binary also serves that one; a torch with
// CUDA has it in a library of its own, where neither a weak symbol nor the global scope would find it.
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
  explicit OnDevice(const Tensor& like) : device(device_index(like)), stream(current_stream(device_index(like))) {}
};

constexpr size_t kDefaultShared = 48 << 10;  // bytes of dynamic shared memory that a launch has without asking

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            const Arguments&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (shared_bytes > kDefaultShared) {
    check_cuda(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
  }
  kernel<<<grid, block, shared_bytes, stream>>>(static_cast<Parameters>(arguments)...);
  check_cuda(cudaGetLastError());
}

// A limit on blocks or workspace. The second value is the one in the tests, which exceed it with few elements.
constexpr int64_t limit_of(int64_t on_device, int64_t) { return on_device; }

}  // namespace mirage

#define MIRAGE_REGISTER_CUDA(m) STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CUDA, m)
