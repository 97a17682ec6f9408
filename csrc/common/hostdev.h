// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Everything below csrc/common and every <op>.h is compiled three ways: by nvcc for the device, by the
// host compiler once per instruction set, and into the test module. Functions are force-inlined so that no
// object file compiled for AVX-512 can donate its copy of a function to code that must run without it.
#if defined(__CUDACC__)
#define MIRAGE_HD __host__ __device__ __forceinline__
#else
#define MIRAGE_HD inline __attribute__((always_inline))
#endif

namespace mirage {

MIRAGE_HD uint32_t float_bits(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  return bits;
}

MIRAGE_HD float bits_float(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof(x));
  return x;
}

// False for NaN and both infinities; unlike std::isfinite it survives every vectorizer.
MIRAGE_HD bool is_finite(float x) { return x - x == 0.0f; }

MIRAGE_HD int64_t ceil_div(int64_t a, int64_t b) {  // b > 0, any sign of a
  return a > 0 ? (a + b - 1) / b : -(-a / b);
}

}  // namespace mirage
