// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "frustum.h"

namespace mirage {

struct alignas(16) CameraOfView {  // read by all lanes of a warp at once, sixteen bytes at a time
  Rigid world2cam;
  Pinhole pinhole;
};

constexpr int kViewBatch = 64;  // that a kernel takes: in shared memory, and bits of a mask
constexpr int kQuad = 4;  // views whose frusta end on a multiple of sixteen bytes

// V views as kernels read them: two arrays that begin on a multiple of sixteen bytes and hold whole quads of views. The
// last view stands for those that are missing.
struct PreparedViews {
  CameraOfView* cameras;
  Frustum* frusta;

  MIRAGE_HD PreparedViews from(int64_t first) const {  // of a quad
    return {cameras + first, frusta + first};
  }
};

static_assert(sizeof(CameraOfView) % 16 == 0 && kQuad * sizeof(Frustum) % 16 == 0);

}  // namespace mirage
