// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <initializer_list>
#include <optional>

#include "torch/allocate.h"
#include "torch/api.h"
#include "torch/huge_pages.h"

// Guards that keep memory safe. Python checks the arguments first, with messages for users.
namespace mirage {

using OptionalTensor = std::optional<Tensor>;

inline void guard(bool ok, const char* what) { STD_TORCH_CHECK(ok, "mirage_kernels: ", what); }

inline int32_t device_index(const Tensor& t) {
  int32_t index = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(handle_of(t), &index));
  return index;
}

inline Tensor dense(const Tensor& t) {
  if (t.is_contiguous()) return t;
  try {
    return torch::stable::contiguous(t);
  } catch (const std::runtime_error&) {  // torch keeps the reason to itself; a copy needs nothing but memory
    int32_t device_type = 0;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(handle_of(t), &device_type));
    fail_allocation(device_type, t.dim(), t.sizes().data());
  }
}

// A contiguous tensor of this dtype and shape; -1 stands for any size. (Tensors of a struct are best initialized, not
// assigned: one without a value costs an allocation.)
inline Tensor expect(const Tensor& t, ScalarType dtype, std::initializer_list<int64_t> shape, const char* what) {
  const auto sizes = t.sizes();
  const auto fits = [](int64_t expected, int64_t size) { return expected < 0 || size == expected; };
  guard(t.scalar_type() == dtype && std::equal(shape.begin(), shape.end(), sizes.begin(), sizes.end(), fits), what);
  return dense(t);
}

inline OptionalTensor expect(const OptionalTensor& t, ScalarType dtype, std::initializer_list<int64_t> shape,
                             const char* what) {
  return t ? OptionalTensor(expect(*t, dtype, shape, what)) : std::nullopt;
}

inline const Tensor* pointer_to(const OptionalTensor& t) { return t ? &*t : nullptr; }

// What an operation needs of the device that it runs on. <op>_cpu.cpp derives from this, <op>_cuda.cu from CudaDevice.
struct CpuDevice {
  static void guard_device(const Tensor&, std::initializer_list<const Tensor*>) {}  // torch's dispatcher does it
};

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

inline int32_t dtype_code(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Float: return aoti_torch_dtype_float32();
    case ScalarType::BFloat16: return aoti_torch_dtype_bfloat16();
    case ScalarType::Half: return aoti_torch_dtype_float16();
    case ScalarType::Long: return aoti_torch_dtype_int64();
    case ScalarType::Int: return aoti_torch_dtype_int32();
    case ScalarType::Char: return aoti_torch_dtype_int8();
    case ScalarType::Byte: return aoti_torch_dtype_uint8();
    case ScalarType::Bool: return aoti_torch_dtype_bool();
    default: guard(false, "unexpected dtype");
  }
  return 0;
}

constexpr int64_t kMaxDims = 4;

// A contiguous, uninitialized tensor. torch::stable::empty and new_empty go through the dispatcher and cost four times
// as much, several times in every call.
inline Tensor empty(std::initializer_list<int64_t> shape, ScalarType dtype, int32_t device_type, int32_t device_index) {
  const int64_t dims = static_cast<int64_t>(shape.size());
  guard(dims <= kMaxDims, "too many dimensions");
  int64_t strides[kMaxDims], stride = 1;
  bool overflows = false;
  for (int64_t d = dims; d-- > 0;) {
    strides[d] = stride;
    overflows |= __builtin_mul_overflow(stride, std::max<int64_t>(shape.begin()[d], 1), &stride);
  }
  if (overflows) fail_allocation(device_type, dims, shape.begin());
  Tensor t = allocate(dims, shape.begin(), strides, dtype_code(dtype), device_type, device_index);
  if (stride >= kFreshBytes / 8 && device_type == aoti_torch_device_type_cpu()) {  // 8 bytes an element at most
    const int64_t bytes = stride * static_cast<int64_t>(t.element_size());
    if (bytes >= kFreshBytes) prefer_huge_pages(t.mutable_data_ptr(), bytes);
  }
  return t;
}

// On the device of `like`.
inline Tensor new_empty(const Tensor& like, std::initializer_list<int64_t> shape, ScalarType dtype) {
  int32_t device_type = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(handle_of(like), &device_type));
  return empty(shape, dtype, device_type, device_index(like));
}

inline Tensor new_empty_on_host(std::initializer_list<int64_t> shape, ScalarType dtype) {
  return empty(shape, dtype, aoti_torch_device_type_cpu(), 0);
}

}  // namespace mirage
