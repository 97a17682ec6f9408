// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu/isa.h"
#include "cpu/point_block.h"
#include "project/project.h"

namespace mirage {

struct ProjectKernels {
  // Items first .. last - 1, of which item b V + v is block b of kPointBlock points in view v.
  void (*project_blocks)(const ProjectJob&, int64_t first, int64_t last);
};

MIRAGE_EACH_ISA(extern const ProjectKernels project_kernels)

}  // namespace mirage
