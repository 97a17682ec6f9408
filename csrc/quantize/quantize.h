// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/float16.h"
#include "../common/int8.h"

// quantize: N rows of M values in 8 bits, each row with a scale of its own.
namespace mirage {

struct QuantizeJob {
  const void* values;  // (N, M)
  int64_t n, m, stride;  // from row to row
  int8_t* steps;  // (N, M)
  float* scale;   // (N,)

  template <class T>
  MIRAGE_HD const T* row(int64_t n) const {
    return static_cast<const T*>(values) + n * stride;
  }
};

// What is not finite counts as 0.
MIRAGE_HD float finite_or_zero(float x) { return is_finite(x) ? x : 0.0f; }

// The bits of its magnitude, which sort as the magnitudes do.
MIRAGE_HD int32_t finite_magnitude(float x) {
  const int32_t magnitude = static_cast<int32_t>(float_bits(x) & 0x7fffffffu);
  return magnitude < 0x7f800000 ? magnitude : 0;
}

// From the largest of them.
MIRAGE_HD float scale_of(int32_t largest) { return int8_scale(bits_float(static_cast<uint32_t>(largest))); }

}  // namespace mirage
