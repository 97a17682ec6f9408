// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
//
// Small kernels that show what the emulation does, each behind a C function. One that fails gives its reason.
#include "common/device.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using namespace mirage;

__global__ void reverse(const int* in, int* out) {  // within a block, through shared memory
  __shared__ int tile[64];
  tile[threadIdx.x] = in[blockIdx.x * 64 + threadIdx.x];
  __syncthreads();
  out[blockIdx.x * 64 + threadIdx.x] = tile[63 - threadIdx.x];
}

__global__ void reverse_without_barrier(int* out) {
  __shared__ int tile[64];
  tile[threadIdx.x] = threadIdx.x;
  out[threadIdx.x] = tile[63 - threadIdx.x];
}

__global__ void lanes(int* out) {  // (6, 32)
  const int lane = threadIdx.x;
  out[lane] = __shfl_xor_sync(kAllLanes, lane, 5);
  out[32 + lane] = __shfl_up_sync(kAllLanes, lane, 3);
  out[64 + lane] = __shfl_down_sync(kAllLanes, lane, 3, 8);
  out[96 + lane] = __shfl_sync(kAllLanes, lane, 2, 8);
  out[128 + lane] = static_cast<int>(__ballot_sync(kAllLanes, lane % 3 == 0));
  const unsigned odd = 0xaaaaaaaau, mask = lane % 2 ? odd : ~odd;
  out[160 + lane] = __reduce_add_sync(mask, lane);  // both halves of the warp at once
}

__global__ void match(const int* in, int* out) {
  out[threadIdx.x] = static_cast<int>(__match_any_sync(kAllLanes, in[threadIdx.x]));
}

__global__ void count(int* total, Word64* least, int* order) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  order[atomicAdd(total, 1)] = i;
  atomicMin(least, static_cast<Word64>(1000 - i));
}

__global__ void look_at_shared(int* fixed, int* of_launch) {
  __shared__ int tile[32];
  MIRAGE_DYNAMIC_SHARED(int, rest);
  fixed[blockIdx.x * 32 + threadIdx.x] = tile[threadIdx.x];
  of_launch[blockIdx.x * 32 + threadIdx.x] = rest[threadIdx.x];
  __syncthreads();
  tile[threadIdx.x] = rest[threadIdx.x] = 12345;
}

__global__ void leave_early(int* out) {
  if (threadIdx.x == 7) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void other_masks() { __ballot_sync(threadIdx.x == 0 ? 3u : threadIdx.x < 3 ? 7u : ~7u, 1); }

__global__ void load_beside(const int* in, int* out) {
  out[threadIdx.x] = __ldg(reinterpret_cast<const int4*>(in + 1)).x;
}

__global__ void copy_to_shared(const int4* in, int4* out, int batches_waited_for) {  // two batches of sixteen bytes
  __shared__ int4 tile[2][32];
  for (int batch = 0; batch < 2; ++batch) {
    __pipeline_memcpy_async(tile[batch] + threadIdx.x, in + 32 * batch + threadIdx.x, sizeof(int4));
    if (batch < batches_waited_for) __pipeline_commit();
  }
  __pipeline_wait_prior(0);
  __syncthreads();
  for (int batch = 0; batch < 2; ++batch) out[32 * batch + threadIdx.x] = tile[batch][31 - threadIdx.x];
}

__global__ void copy_beside(const int* in) {
  __shared__ int4 tile[32];
  __pipeline_memcpy_async(tile + threadIdx.x, in + 1, sizeof(int4));
}

template <class... Parameters, class... Arguments>
const char* run(void (*kernel)(Parameters...), unsigned grid, unsigned block, size_t shared, Arguments... arguments) {
  static std::string failure;
  try {
    emulation::run_grid(grid, block, shared, [&] { kernel(arguments...); });
    return nullptr;
  } catch (const std::runtime_error& error) {
    failure = error.what();
    return failure.c_str();
  }
}

}  // namespace

EXPORT const char* run_reverse(const int* in, int* out, int blocks) { return run(reverse, blocks, 64, 0, in, out); }
EXPORT const char* run_reverse_without_barrier(int* out) { return run(reverse_without_barrier, 1, 64, 0, out); }
EXPORT const char* run_lanes(int* out) { return run(lanes, 1, 32, 0, out); }
EXPORT const char* run_match(const int* in, int* out) { return run(match, 1, 32, 0, in, out); }
EXPORT const char* run_count(int* total, Word64* least, int* order, int blocks) {
  return run(count, blocks, 64, 0, total, least, order);
}
EXPORT const char* run_look_at_shared(int* fixed, int* of_launch, int blocks) {
  return run(look_at_shared, blocks, 32, 32 * sizeof(int), fixed, of_launch);
}
EXPORT const char* run_leave_early(int* out) { return run(leave_early, 1, 64, 0, out); }
EXPORT const char* run_other_masks() { return run(other_masks, 1, 32, 0); }
EXPORT const char* run_load_beside(const int* in, int* out) { return run(load_beside, 1, 32, 0, in, out); }
EXPORT const char* run_copy_to_shared(const int4* in, int4* out, int batches) {
  return run(copy_to_shared, 1, 32, 0, in, out, batches);
}
EXPORT const char* run_copy_beside(const int* in) { return run(copy_beside, 1, 32, 0, in); }
EXPORT const char* run_part_of_a_warp(int* out) { return run(leave_early, 1, 33, 0, out); }
