// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat.h"

// composite: one cell. N points, V views, k layers, C channels, grid (h, w).
namespace mirage {

enum class CompositeMode : int64_t { kAlpha = 0, kWeighted = 1, kNormalized = 2 };

constexpr float kMinTotal = 1e-4f;  // mode "normalized" divides by at least this

// What the layers of a cell that hold a point add up to.
struct LayerTotals {
  float through = 1.0f;  // product of 1 - weight
  float total = 0.0f;    // sum of the weights

  MIRAGE_HD float divisor() const { return total > kMinTotal ? total : kMinTotal; }  // of mode "normalized"
};

// The layers of a cell, `stride` apart.
struct CellLayers {
  const int64_t* index;
  const float* weights;
  int64_t layers, stride, points;
  CompositeMode mode;

  // Indices of points that do not exist count as layers without a point.
  MIRAGE_HD bool has_point(int64_t l) const { return (index[l * stride] >= 0) & (index[l * stride] < points); }

  MIRAGE_HD bool is_divided() const { return mode == CompositeMode::kNormalized; }

  // Calls visit(layer, point, scale) for the layers that hold a point, from the nearest to the farthest. `scale` is what
  // its features are multiplied with, before the division.
  template <class Visit>
  MIRAGE_HD LayerTotals each(const Visit& visit) const {
    LayerTotals totals;
    for (int64_t l = 0; l < layers; ++l) {
      const int64_t at = l * stride, point = index[at];
      if (!((point >= 0) & (point < points))) continue;
      const float weight = weights[at];
      visit(l, point, mode == CompositeMode::kAlpha ? totals.through * weight : weight);
      totals.through = totals.through * (1.0f - weight);
      totals.total += weight;
    }
    return totals;
  }

  // What the features of every layer count in the end, in scales (layers, stride); layers without a point are left out.
  MIRAGE_HD void final_scales(float* scales) const {
    const LayerTotals totals = each([&](int64_t l, int64_t, float scale) { scales[l * stride] = scale; });
    if (!is_divided()) return;
    for (int64_t l = 0; l < layers; ++l)
      if (has_point(l)) scales[l * stride] = scales[l * stride] / totals.divisor();
  }

  // Turns by_layer (layers, stride), the products of the cell's gradient with the features of every layer that holds a
  // point, into the gradients of the weights.
  MIRAGE_HD void backward_weights(float* by_layer) const {
    float sum = 0.0f;  // of weight * by_layer
    const LayerTotals totals = each(
        [&](int64_t l, int64_t, float) { sum += weights[l * stride] * by_layer[l * stride]; });
    const float divisor = totals.divisor();
    const float mean = totals.total > kMinTotal ? sum / divisor : 0.0f;
    // In mode "alpha" first what lies behind a layer, from the farthest to the nearest, then what lies in front of it.
    float behind = 0.0f;
    for (int64_t l = layers - 1; l >= 0; --l) {
      float& own = by_layer[l * stride];
      if (!has_point(l)) {
        own = 0.0f;
        continue;
      }
      const float weight = weights[l * stride], product = own;
      if (mode == CompositeMode::kAlpha) {
        own = product - behind;
        behind = weight * product + (1.0f - weight) * behind;
      } else if (mode == CompositeMode::kNormalized) {
        own = (product - mean) / divisor;
      }
    }
    if (mode != CompositeMode::kAlpha) return;
    float through = 1.0f;
    for (int64_t l = 0; l < layers; ++l) {
      if (!has_point(l)) continue;
      by_layer[l * stride] = through * by_layer[l * stride];
      through = through * (1.0f - weights[l * stride]);
    }
  }
};

// index and weights (V, k, h w).
struct CompositeLayers {
  const int64_t* index;
  const float* weights;
  int64_t layers, cells, points;
  CompositeMode mode;

  MIRAGE_HD int64_t first_of(int64_t cell) const {  // number of the first layer of a cell (V, h w)
    return cell / cells * layers * cells + cell % cells;
  }
  MIRAGE_HD CellLayers of(int64_t cell) const {
    const int64_t at = first_of(cell);
    return {index + at, weights + at, layers, cells, points, mode};
  }
  MIRAGE_HD bool has_point(int64_t entry) const { return (index[entry] >= 0) & (index[entry] < points); }
  MIRAGE_HD int64_t cell_of_entry(int64_t entry) const {  // cell (V, h w) of an entry (V, k, h w)
    return entry / (layers * cells) * cells + entry % cells;
  }
};

}  // namespace mirage
