// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/prepared_views.h"
#include "cuda.h"
#include "views.h"

namespace mirage {

// Views as kernels read them, prepared by the device.
struct ViewsOnDevice {
  Tensor words;
  PreparedViews views;
  unsigned* counts;  // one for every kViewBatch views, all 0

  // Also does `fill`. `margin` in cells as in make_frustum.
  ViewsOnDevice(const CameraTensors& cameras, float margin, const Fill& fill, cudaStream_t stream);
};

}  // namespace mirage
