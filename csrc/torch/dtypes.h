// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/float16.h"
#include "tensor.h"

// Features are float32, bfloat16 or float16.
namespace mirage {

constexpr const char* kFeatureDtypes = "features must be float32, bfloat16 or float16";

// Calls run with an unsigned word of the size of one feature: moving features needs no more of their type.
template <class Run>
void with_word(ScalarType dtype, const Run& run) {
  switch (dtype) {
    case ScalarType::Float: run(uint32_t{}); break;
    case ScalarType::BFloat16:
    case ScalarType::Half: run(uint16_t{}); break;
    default: guard(false, kFeatureDtypes);
  }
}

// Calls run with a value of the C++ type of one feature.
template <class Run>
void with_type(ScalarType dtype, const Run& run) {
  switch (dtype) {
    case ScalarType::Float: run(float{}); break;
    case ScalarType::BFloat16: run(BFloat16{}); break;
    case ScalarType::Half: run(Float16{}); break;
    default: guard(false, kFeatureDtypes);
  }
}

}  // namespace mirage
