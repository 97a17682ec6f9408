// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "associate/associate.h"
#include "cpu/isa.h"

namespace mirage {

struct AssociateKernels {
  // Points first .. last - 1; views (F,) of the past frames.
  void (*associate)(const AssociateJob&, const View* views, int64_t first, int64_t last);
};

MIRAGE_EACH_ISA(extern const AssociateKernels associate_kernels)

}  // namespace mirage
