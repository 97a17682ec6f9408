// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>

#include "fibers.h"

// Stands in for CUDA where a .cu file is compiled for a CPU: included before its first line, by the tests. It holds what
// the kernels use and no more; kernels that share memory lie in an unnamed namespace.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __shared__ static __attribute__((section("mirage_shared")))

namespace emulation {

// What a kernel leaves unwritten shows: NaN in any floating dtype, the largest number in any integer.
inline void fill_with_rubbish(void* at, int64_t elements, int64_t element_size) {
  unsigned char* bytes = static_cast<unsigned char*>(at);
  for (int64_t i = 0; i < elements * element_size; ++i) bytes[i] = (i + 1) % element_size == 0 ? 0x7f : 0xff;
}

}  // namespace emulation

using dim3 = emulation::Index;
using cudaStream_t = void*;

#define threadIdx (::emulation::machine.current->thread)
#define blockIdx (::emulation::machine.block_index)
#define blockDim (::emulation::machine.block)
#define gridDim (::emulation::machine.grid)

struct alignas(8) int2 {
  int x, y;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) longlong2 {
  long long x, y;
};
struct alignas(16) ulonglong2 {
  unsigned long long x, y;
};

inline int2 make_int2(int x, int y) { return {x, y}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline longlong2 make_longlong2(long long x, long long y) { return {x, y}; }
inline ulonglong2 make_ulonglong2(unsigned long long x, unsigned long long y) { return {x, y}; }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
inline float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
using std::max;
using std::min;

// A wide access to an address that is not on a multiple of its size is an error on a device, and so here.
template <class T>
inline T emulated_load(const T* at) {
  emulation::require(reinterpret_cast<uintptr_t>(at) % alignof(T) == 0, "a load from an address that is not aligned");
  return *at;
}
template <class T>
inline void emulated_store(T* at, T value) {
  emulation::require(reinterpret_cast<uintptr_t>(at) % alignof(T) == 0, "a store to an address that is not aligned");
  *at = value;
}
template <class T>
inline T __ldg(const T* at) {
  return emulated_load(at);
}
template <class T>
inline T __ldca(const T* at) {
  return emulated_load(at);
}
template <class T>
inline T __ldcg(const T* at) {
  return emulated_load(at);
}
template <class T>
inline T __ldcs(const T* at) {
  return emulated_load(at);
}
template <class T>
inline void __stcg(T* at, T value) {
  emulated_store(at, value);
}
template <class T>
inline void __stcs(T* at, T value) {
  emulated_store(at, value);
}

// Nothing arrives before it is waited for.
inline void __pipeline_memcpy_async(void* to, const void* from, size_t bytes) {
  emulation::require((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % bytes == 0,
                     "a copy between addresses that are not aligned");
  emulation::machine.current->copies.push_back({to, from, bytes});
}
inline void __pipeline_commit() { emulation::machine.current->committed = emulation::machine.current->copies.size(); }
inline void __pipeline_wait_prior(size_t pending) {
  emulation::require(pending == 0, "a wait that leaves copies pending, which the emulation does not know");
  emulation::Fiber& me = *emulation::machine.current;
  for (size_t i = 0; i < me.committed; ++i) std::memcpy(me.copies[i].to, me.copies[i].from, me.copies[i].bytes);
  me.copies.erase(me.copies.begin(), me.copies.begin() + static_cast<std::ptrdiff_t>(me.committed));
  me.committed = 0;
}

inline void __threadfence() {}
inline void __threadfence_block() {}

inline void __syncthreads() { emulation::sync_threads(0); }
inline int __syncthreads_count(int flag) {
  emulation::sync_threads(flag != 0);
  return emulation::machine.barrier.total;
}
inline int __syncthreads_or(int flag) { return __syncthreads_count(flag) > 0; }
inline int __syncthreads_and(int flag) {
  return __syncthreads_count(flag) == static_cast<int>(emulation::machine.block.count());
}

inline void __syncwarp(unsigned mask = 0xffffffffu) { emulation::exchange(mask, 0); }

template <class T>
inline T emulated_shuffle(unsigned mask, T value, int from) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t word = 0;
  __builtin_memcpy(&word, &value, sizeof(T));
  const uint64_t* received = emulation::exchange(mask, word);
  emulation::require(mask >> from & 1, "a shuffle from a lane that is not in the mask");
  __builtin_memcpy(&value, &received[from], sizeof(T));
  return value;
}
inline int emulated_lane() { return emulation::machine.current->lane; }

// Segments of `width` lanes; a source beyond its segment is the lane itself.
template <class T>
inline T __shfl_sync(unsigned mask, T value, int from, int width = 32) {
  return emulated_shuffle(mask, value, (emulated_lane() & ~(width - 1)) + (from & (width - 1)));
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  const int lane = emulated_lane(), from = lane ^ lanes;
  return emulated_shuffle(mask, value, from / width > lane / width ? lane : from);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
  const int lane = emulated_lane(), from = lane - static_cast<int>(lanes);
  return emulated_shuffle(mask, value, from < (lane & ~(width - 1)) ? lane : from);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
  const int lane = emulated_lane(), from = lane + static_cast<int>(lanes);
  return emulated_shuffle(mask, value, from > (lane | (width - 1)) ? lane : from);
}

template <class T, class Join>
inline T emulated_reduce(unsigned mask, T value, const Join& join) {
  const uint64_t* received = emulation::exchange(mask, static_cast<uint64_t>(value));
  T result = static_cast<T>(received[__builtin_ctz(mask)]);
  for (unsigned left = mask & (mask - 1); left; left &= left - 1)
    result = join(result, static_cast<T>(received[__builtin_ctz(left)]));
  return result;
}

inline unsigned __ballot_sync(unsigned mask, int flag) {
  return emulated_reduce(mask, flag ? 1u << emulated_lane() : 0u, [](unsigned a, unsigned b) { return a | b; });
}
inline int __any_sync(unsigned mask, int flag) { return __ballot_sync(mask, flag) != 0; }
inline int __all_sync(unsigned mask, int flag) { return __ballot_sync(mask, flag) == mask; }
inline unsigned __reduce_add_sync(unsigned mask, unsigned x) { return emulated_reduce(mask, x, std::plus<unsigned>()); }
inline int __reduce_add_sync(unsigned mask, int x) { return emulated_reduce(mask, x, std::plus<int>()); }
inline unsigned __reduce_or_sync(unsigned mask, unsigned x) {
  return emulated_reduce(mask, x, std::bit_or<unsigned>());
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned x) {
  return emulated_reduce(mask, x, std::bit_and<unsigned>());
}
template <class T>
inline T __reduce_min_sync(unsigned mask, T x) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>);
  return emulated_reduce(mask, x, [](T a, T b) { return std::min(a, b); });
}
template <class T>
inline T __reduce_max_sync(unsigned mask, T x) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>);
  return emulated_reduce(mask, x, [](T a, T b) { return std::max(a, b); });
}
template <class T>
inline unsigned __match_any_sync(unsigned mask, T value) {
  uint64_t word = 0;
  __builtin_memcpy(&word, &value, sizeof(T));
  const uint64_t* received = emulation::exchange(mask, word);
  unsigned same = 0;
  for (unsigned left = mask; left; left &= left - 1)
    if (received[__builtin_ctz(left)] == word) same |= left & -left;
  return same;
}

// The types are those that CUDA has atomics for; any other does not compile here either.
template <class T, class Join>
inline T emulated_atomic(T* at, const Join& join) {
  emulation::maybe_yield();
  const T before = emulated_load(at);
  *at = join(before);
  return before;
}
template <class T, class... Ts>
constexpr bool emulated_one_of = (std::is_same_v<T, Ts> || ...);
#define EMULATED_ATOMIC(name, expression, ...)                                     \
  template <class T>                                                               \
  inline T name(T* at, std::type_identity_t<T> x) {                                \
    static_assert(emulated_one_of<T, __VA_ARGS__>);                                \
    return emulated_atomic(at, [&](T was) { return static_cast<T>(expression); }); \
  }
EMULATED_ATOMIC(atomicAdd, was + x, int, unsigned, unsigned long long, float, double)
EMULATED_ATOMIC(atomicMin, std::min(was, x), int, unsigned, long long, unsigned long long)
EMULATED_ATOMIC(atomicMax, std::max(was, x), int, unsigned, long long, unsigned long long)
EMULATED_ATOMIC(atomicOr, was | x, int, unsigned, unsigned long long)
EMULATED_ATOMIC(atomicAnd, was& x, int, unsigned, unsigned long long)
EMULATED_ATOMIC(atomicExch, x, int, unsigned, unsigned long long, float)
#undef EMULATED_ATOMIC
template <class T>
inline T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> x) {
  static_assert(emulated_one_of<T, int, unsigned, unsigned long long>);
  return emulated_atomic(at, [&](T was) { return was == expected ? x : was; });
}
