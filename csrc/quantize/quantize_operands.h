// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tuple>

#include "quantize/quantize.h"
#include "torch/dtypes.h"
#include "torch/tensor.h"

// quantize, on any device. N rows of M values.
namespace mirage {

// Checked inputs, and the outputs.
struct QuantizeOperands {
  Tensor values, steps, scale;  // (N, M), (N, M), (N,)
  QuantizeJob job;

  explicit QuantizeOperands(const Tensor& values_)
      : values(rows_of(values_)), steps(new_empty(values, {values.size(0), values.size(1)}, ScalarType::Char)),
        scale(new_empty(values, {values.size(0)}, ScalarType::Float)),
        job{values.const_data_ptr(),   values.size(0), values.size(1), values.stride(0), mutable_data<int8_t>(steps),
            mutable_data<float>(scale)} {}

 private:
  static Tensor rows_of(const Tensor& values) {
    guard(values.dim() == 2, "quantize: values must be (N, M)");
    return values.stride(1) == 1 ? values : dense(values);
  }
};

template <class Device>
std::tuple<Tensor, Tensor> quantize(const Tensor& values) {
  const QuantizeOperands in(values);
  if (in.job.n > 0)
    with_type(in.values.scalar_type(), [&](auto type) { Device::template quantize<decltype(type)>(in); });
  return {in.steps, in.scale};
}

template <class Device, class Library>
void register_quantize(Library& m) {
  m.impl("quantize", MIRAGE_BOX(&quantize<Device>));
}

}  // namespace mirage
