// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu/isa.h"
#include "quantize/quantize.h"

namespace mirage {

template <class T>
using QuantizeRows = void (*)(const QuantizeJob&, int64_t first, int64_t last);

struct QuantizeKernels {
  // Rows first .. last - 1.
  QuantizeRows<float> of_float;
  QuantizeRows<BFloat16> of_bfloat16;
  QuantizeRows<Float16> of_float16;

  void run(float, const QuantizeJob& job, int64_t first, int64_t last) const { of_float(job, first, last); }
  void run(BFloat16, const QuantizeJob& job, int64_t first, int64_t last) const { of_bfloat16(job, first, last); }
  void run(Float16, const QuantizeJob& job, int64_t first, int64_t last) const { of_float16(job, first, last); }
};

MIRAGE_EACH_ISA(extern const QuantizeKernels quantize_kernels)

}  // namespace mirage
