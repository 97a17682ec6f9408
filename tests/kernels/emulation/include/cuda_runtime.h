// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <cstring>

// Replaces CUDA's runtime where .cu files are compiled for a CPU: the functions that csrc calls, and no more. Nothing is
// asynchronous. Fills and waits are counted.
using cudaError_t = int;

constexpr cudaError_t cudaSuccess = 0;
constexpr unsigned cudaHostAllocPortable = 1, cudaHostAllocMapped = 2;

inline const char* cudaGetErrorString(cudaError_t) { return "an error of the emulation"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}
inline cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}
inline cudaError_t cudaHostAlloc(void** block, size_t bytes, unsigned) {
  *block = std::malloc(bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, cudaStream_t) {
  ++::emulation::operations.fills;
  std::memset(at, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  ++::emulation::operations.waits;
  return cudaSuccess;
}
