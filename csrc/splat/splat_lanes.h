// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat.h"

// For splat*_isa.cpp only.
namespace mirage {
namespace MIRAGE_ISA {
namespace {

// The lanes of sum_in_order.
struct Lanes {
  float sum[kSumLanes] = {};

  template <class Term>
  MIRAGE_HD void add(int64_t first, const Term& term) {
    for (int l = 0; l < kSumLanes; ++l) sum[l] += term(first + l);
  }
  MIRAGE_HD float at(int lane) const { return sum[lane]; }
};

}  // namespace
}  // namespace MIRAGE_ISA
}  // namespace mirage
