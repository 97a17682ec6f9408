// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/frustum.h"
#include "tensor.h"

namespace mirage {

inline const PageBox* box_level(const Tensor& boxes, int64_t count) {
  guard(boxes.scalar_type() == ScalarType::Float && boxes.dim() == 2 && boxes.size(1) == 7 && boxes.is_contiguous(),
        "boxes must be contiguous float32 (B, 7)");
  guard(boxes.size(0) >= count, "boxes must hold all points");
  return reinterpret_cast<const PageBox*>(data<float>(boxes));
}

// Of so many points. The tensors may have room for more.
inline PageBoxes load_boxes(const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2, int64_t points) {
  const int64_t pages = ceil_div(points, kPage), words = ceil_div(pages, kPage), tops = ceil_div(words, kPage);
  return {box_level(boxes0, pages), box_level(boxes1, words), box_level(boxes2, tops), pages, words, tops};
}

}  // namespace mirage
