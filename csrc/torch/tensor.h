// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <initializer_list>
#include <optional>

// The guards that keep memory safe. What a person needs to be told is checked, and worded, in Python.
namespace mirage {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using OptionalTensor = std::optional<Tensor>;

inline void guard(bool ok, const char* what) {
  STD_TORCH_CHECK(ok, "mirage_kernels: ", what);
}

inline Tensor dense(const Tensor& t) {
  return t.is_contiguous() ? t : torch::stable::contiguous(t);
}

// A contiguous tensor of this dtype and shape; -1 stands for any size.
inline Tensor expect(const Tensor& t, ScalarType dtype, std::initializer_list<int64_t> shape, const char* what) {
  bool ok = t.scalar_type() == dtype && t.dim() == static_cast<int64_t>(shape.size());
  int64_t d = 0;
  for (int64_t size : shape) {
    ok = ok && (size < 0 || t.size(d) == size);
    ++d;
  }
  guard(ok, what);
  return dense(t);
}

inline OptionalTensor expect(const OptionalTensor& t, ScalarType dtype, std::initializer_list<int64_t> shape,
                             const char* what) {
  return t ? OptionalTensor(expect(*t, dtype, shape, what)) : std::nullopt;
}

template <class T>
const T* data(const Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}

template <class T>
const T* data(const OptionalTensor& t) {
  return t ? data<T>(*t) : nullptr;
}

template <class T>
T* mutable_data(const Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

inline Tensor empty_like(const Tensor& like, std::initializer_list<int64_t> shape, ScalarType dtype) {
  return torch::stable::new_empty(like, {shape.begin(), shape.size()}, dtype);
}

}  // namespace mirage
