// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_bilinear_isa.h"

#include "cpu/tile.h"
#include "splat/splat_block.h"
#include "splat/splat_lanes.h"

namespace mirage {
namespace MIRAGE_ISA {
namespace {

template <int kBytes>
struct WordOf {
  using type = uint32_t;
};
template <>
struct WordOf<2> {
  using type = uint16_t;
};
template <int kBytes>
using Words = typename WordOf<kBytes>::type;

struct alignas(64) BilinearTaps {  // of a block of points, by corner
  int32_t cell[4][kBlock];
  float weight[4][kBlock];
  uint32_t depth[kBlock];  // bits of Z
  float s[kBlock], t[kBlock];
  int32_t mark[kBlock];           // negative: no taps
  int32_t hits[kBlock + kLanes];  // lanes
};

void project_corners(const SplatBlock& block, const View& view, int h, int w, BilinearTaps& out) {
  const Rigid m = view.world2cam;
  const Pinhole pinhole = view.pinhole;
  const int lanes = block.lanes;
  const float near = block.near;
  for_each_lane(lanes, [&](int k) {
    const Projection p = project(m, pinhole, block.x[k], block.y[k], block.z[k]);
    const Corners c = corners_of(p, h, w, near);
    int32_t none = -1;
    for (int corner = 0; corner < 4; ++corner) {
      const BilinearTap t = bilinear_tap(c, corner, h, w);
      out.cell[corner][k] = t.cell;
      out.weight[corner][k] = t.weight;
      none &= t.cell;
    }
    out.mark[k] = none;
    out.depth[k] = float_bits(p.z);
    out.s[k] = c.s;
    out.t[k] = c.t;
  });
}

void scatter_corners(const SplatBlock& block, uint64_t* keys, BilinearTaps& c) {
#if defined(__AVX512F__)
  for (int corner = 0; corner < 4; ++corner) {
    const int n = pack_winners<true>(c.cell[corner], c.depth, block.lanes, keys, c.hits);
    for (int hit = 0; hit < n; ++hit) {
      const int k = c.hits[hit];
      min_key(keys[c.cell[corner][k]], depth_key(bits_float(c.depth[k]), index_of(block, k)));
    }
  }
#else
  const int n = pack_marked(c.mark, block.lanes, c.hits);
  for (int hit = 0; hit < n; ++hit) {
    const int k = c.hits[hit];
    const uint64_t key = depth_key(bits_float(c.depth[k]), index_of(block, k));
    for (int corner = 0; corner < 4; ++corner)
      if (c.cell[corner][k] >= 0) min_key(keys[c.cell[corner][k]], key);
  }
#endif
}

void scatter(const SplatPoints& points, const SplatJob& job) {
  const int64_t cells = static_cast<int64_t>(job.h) * job.w;
  SplatBlock block;
  BilinearTaps c;
  prepare(points, block);
  for (int64_t i = 0; i < job.num_views * cells; ++i) job.keys[i] = kEmptyKey;
  for (int64_t number = job.part; number < num_blocks(points); number += job.parts) {
    load(points, number, block);
    for (int v = 0; v < job.num_views; ++v) {
      if (is_culled(job.views[v].frustum, block.box, 0.0f)) continue;
      uint64_t* keys = job.keys + v * cells;
      project_corners(block, job.views[v], job.h, job.w, c);
      scatter_corners(block, keys, c);
    }
  }
}

// Calls visit(index, lane) for the block's points that have a tap in the view, in ascending order.
template <class Visit>
MIRAGE_HD void for_each_visible(const SplatBlock& block, const View& view, const BlendGrid& grid, BilinearTaps& c,
                                const Visit& visit) {
  if (is_culled(view.frustum, block.box, 0.0f)) return;
  project_corners(block, view, grid.h, grid.w, c);
  const int n = pack_marked(c.mark, block.lanes, c.hits);
  for (int hit = 0; hit < n; ++hit) visit(static_cast<int64_t>(index_of(block, c.hits[hit])), c.hits[hit]);
}

// The corner's cell if it blends the point, or -1.
MIRAGE_HD int32_t blended_cell(const BilinearTaps& c, int corner, int lane, const float* limits) {
  const int32_t cell = c.cell[corner][lane];
  return cell >= 0 && bits_float(c.depth[lane]) <= limits[cell] ? cell : -1;
}

// sums[corner] (C,) += weight[corner] * row, of four different cells.
template <class T>
MIRAGE_HD void add_to_four(const T* row, int64_t channels, const float (&weight)[4], float* const (&sums)[4]) {
  float* __restrict s0 = sums[0];
  float* __restrict s1 = sums[1];
  float* __restrict s2 = sums[2];
  float* __restrict s3 = sums[3];
  const float w0 = weight[0], w1 = weight[1], w2 = weight[2], w3 = weight[3];
  for (int64_t channel = 0; channel < channels; ++channel) {
    const float feature = to_float(row[channel]);
    s0[channel] += w0 * feature;
    s1[channel] += w1 * feature;
    s2[channel] += w2 * feature;
    s3[channel] += w3 * feature;
  }
}

template <class T>
MIRAGE_HD void add_taps(const T* row, int64_t channels, const BilinearTaps& c, int lane, const float* limits,
                        const BlendSums& sums) {
  float weight[4];
  float* cells[4];
  int taps = 0;
  for (int corner = 0; corner < 4; ++corner) {
    const int32_t cell = blended_cell(c, corner, lane, limits);
    if (cell < sums.first || cell >= sums.last) continue;
    weight[taps] = c.weight[corner][lane];
    sums.weights[cell - sums.first] += weight[taps];
    cells[taps++] = sums.features + (cell - sums.first) * channels;
  }
  if (taps == 4) return add_to_four(row, channels, weight, cells);
  for (int tap = 0; tap < taps; ++tap) {
    float* __restrict sum = cells[tap];
    for (int64_t channel = 0; channel < channels; ++channel) sum[channel] += weight[tap] * to_float(row[channel]);
  }
}

// All views of a block of points before the next block: its points, and their features, are read once.
template <class T>
void blend(const SplatPoints& points, const View* views, int num_views, const BlendGrid& grid, const void* features,
           const BlendSums& sums) {
  const int64_t channels = grid.channels, num_cells = static_cast<int64_t>(grid.h) * grid.w;
  for (int64_t i = 0; i < num_views * sums.cells() * channels; ++i) sums.features[i] = 0.0f;
  for (int v = 0; v < num_views; ++v)
    for (int64_t i = 0; i < sums.cells(); ++i) sums.weights[v * sums.stride + i] = 0.0f;
  SplatBlock block;
  BilinearTaps c;
  prepare(points, block);
  for (int64_t number = 0; number < num_blocks(points); ++number) {
    load(points, number, block);
    for (int v = 0; v < num_views; ++v) {
      const BlendSums of_view{sums.first, sums.last, sums.features + v * sums.cells() * channels,
                              sums.weights + v * sums.stride, sums.stride};
      for_each_visible(block, views[v], grid, c, [&](int64_t index, int lane) {
        add_taps(static_cast<const T*>(features) + index * channels, channels, c, lane, grid.limits + v * num_cells,
                 of_view);
      });
    }
  }
}

template <class T>
void normalize(const BlendGrid& grid, const BlendSums& sums, const BlendResult& result) {
  using Word = Words<sizeof(T)>;
  constexpr int64_t kTile = 64, kDepth = 64;  // cells and channels at a time
  Word* out = static_cast<Word*>(result.out);
  for (int64_t first = 0; first < result.count; first += kTile) {
    const int64_t last = first + kTile < result.count ? first + kTile : result.count;
    for (int64_t c = 0; c < grid.channels; c += kDepth) {
      const int64_t depth = grid.channels - c < kDepth ? grid.channels - c : kDepth;
      T tile[kTile * kDepth];  // (cell, channel)
      const Word* rows[kTile];
      for (int64_t k = first; k < last; ++k) {
        T* row = tile + (k - first) * kDepth;
        const float* sum = sums.features + k * grid.channels + c;
        const float weight = sums.weights[k];
        const bool covered = is_covered(weight);
#pragma GCC ivdep
        for (int64_t i = 0; i < depth; ++i) from_float(covered ? sum[i] / weight : 0.0f, row + i);
        rows[k - first] = reinterpret_cast<const Word*>(row);
      }
      transpose<Word>(rows, last - first, depth, out + c * result.stride + first, result.stride);
    }
    for (int64_t k = first; k < last; ++k) {
      const BlendedCell cell = finish_cell(result.index[k], result.depth[k], sums.weights[k]);
      result.index[k] = cell.index;
      result.depth[k] = cell.depth;
      sums.weights[k] = cell.weight;
    }
  }
}

void backward_features(const SplatPoints& points, const BlendGrid& grid, const BlendGradient& job, float* sums) {
  const int64_t cells = static_cast<int64_t>(grid.h) * grid.w, channels = grid.channels;
  SplatBlock block;
  BilinearTaps c;
  prepare(points, block);
  for (int64_t number = job.first; number < job.last; ++number) {
    load(points, number, block);
    for (int v = 0; v < job.num_views; ++v) {
      for_each_visible(block, job.views[v], grid, c, [&](int64_t index, int lane) {
        float* __restrict sum = sums + index * channels;
        for (int corner = 0; corner < 4; ++corner) {
          const int32_t cell = blended_cell(c, corner, lane, grid.limits + v * cells);
          if (cell < 0) continue;
          const float weight = c.weight[corner][lane] / job.weights[v * cells + cell];
          const float* grad = job.grad + (v * cells + cell) * channels;
          for (int64_t channel = 0; channel < channels; ++channel) sum[channel] += weight * grad[channel];
        }
      });
    }
  }
}

template <class T>
void backward_xyz(const SplatPoints& points, const BlendGrid& grid, const BlendGradient& job, const void* features,
                  float* sums) {
  const int64_t cells = static_cast<int64_t>(grid.h) * grid.w, channels = grid.channels;
  SplatBlock block;
  BilinearTaps c;
  prepare(points, block);
  for (int64_t number = job.first; number < job.last; ++number) {
    load(points, number, block);
    for (int v = 0; v < job.num_views; ++v) {
      const View& view = job.views[v];
      for_each_visible(block, view, grid, c, [&](int64_t index, int lane) {
        const T* row = static_cast<const T*>(features) + index * channels;
        PositionGradient position;
        for (int corner = 0; corner < 4; ++corner) {
          const int32_t cell = blended_cell(c, corner, lane, grid.limits + v * cells);
          if (cell < 0) continue;
          const int64_t at = v * cells + cell;
          const float* grad = job.grad + at * channels;
          const float* blended = job.blended + at * channels;
          const float sum = sum_in_order(
              channels, Lanes{}, [&](int64_t i) { return weight_gradient(grad[i], to_float(row[i]), blended[i]); });
          position.add(corner, c.s[lane], c.t[lane], sum / job.weights[at]);
        }
        const Vec3 g = project_backward(view.world2cam, view.pinhole, block.x[lane], block.y[lane], block.z[lane],
                                        position.u, position.v);
        sums[3 * index] += g.x;
        sums[3 * index + 1] += g.y;
        sums[3 * index + 2] += g.z;
      });
    }
  }
}

}  // namespace

extern const BilinearKernels bilinear_kernels{scatter,
                                              {blend<float>, blend<BFloat16>, blend<Float16>},
                                              {normalize<float>, normalize<BFloat16>, normalize<Float16>},
                                              backward_features,
                                              {backward_xyz<float>, backward_xyz<BFloat16>, backward_xyz<Float16>}};

}  // namespace MIRAGE_ISA
}  // namespace mirage
