// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "quantize/quantize_isa.h"

namespace mirage {
namespace MIRAGE_ISA {
namespace {

constexpr int64_t kBlock = 256;

template <class T>
void quantize_rows(const QuantizeJob& job, int64_t first, int64_t last) {
  const int64_t m = job.m;
  for (int64_t n = first; n < last; ++n) {
    const T* row = job.row<T>(n);
    int32_t largest = 0;
    for (int64_t i = 0; i < m; ++i) {
      const int32_t magnitude = finite_magnitude(to_float(row[i]));
      largest = magnitude > largest ? magnitude : largest;
    }
    const float scale = job.scale[n] = scale_of(largest);
    int8_t* steps = job.steps + n * m;
    for (int64_t begin = 0; begin < m; begin += kBlock) {  // 32 bits first: conversions to fewer do not vectorize
      const int64_t count = m - begin < kBlock ? m - begin : kBlock;
      int32_t wide[kBlock];
      for (int64_t i = 0; i < count; ++i) wide[i] = int8_steps(finite_or_zero(to_float(row[begin + i])), scale);
      for (int64_t i = 0; i < count; ++i) steps[begin + i] = static_cast<int8_t>(wide[i]);
    }
  }
}

}  // namespace

extern const QuantizeKernels quantize_kernels{quantize_rows<float>, quantize_rows<BFloat16>, quantize_rows<Float16>};

}  // namespace MIRAGE_ISA
}  // namespace mirage
