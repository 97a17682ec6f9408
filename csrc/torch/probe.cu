// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime.h>

#include "probe.h"

namespace mirage {
namespace {

std::string version_name(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// The runtime is linked statically, so it may be newer than the one in torch, and than the driver takes.
std::string find_cuda_problem() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess) return "";
  cudaGetLastError();  // later calls should not find it
  int driver = 0;
  int runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  return std::string(cudaGetErrorString(error)) + " (driver: CUDA " + version_name(driver) + ", kernels: CUDA " +
         version_name(runtime) + ")";
}

[[maybe_unused]] const bool kSet = [] {
  cuda_problem = find_cuda_problem;
  return true;
}();

}  // namespace
}  // namespace mirage
