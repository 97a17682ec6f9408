// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/frustum.h"
#include "tensor.h"

namespace mirage {

inline const PyramidBox* box_level(const Tensor& boxes, int64_t count) {
  guard(boxes.scalar_type() == ScalarType::Float && boxes.dim() == 2 && boxes.size(1) == 7 && boxes.is_contiguous(),
        "boxes must be contiguous float32 (B, 7)");
  guard(boxes.size(0) >= count, "boxes must hold all points");
  return reinterpret_cast<const PyramidBox*>(data<float>(boxes));
}

// Over `points` points. The tensors may be larger.
inline BoxPyramid load_boxes(const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2, int64_t points) {
  const int64_t size0 = ceil_div(points, kFanout), size1 = ceil_div(size0, kFanout), size2 = ceil_div(size1, kFanout);
  return {box_level(boxes0, size0), box_level(boxes1, size1), box_level(boxes2, size2), size0, size1, size2};
}

}  // namespace mirage
