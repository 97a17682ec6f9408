// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_layers_isa.h"

#include "splat/splat_raster.h"

namespace mirage {
namespace MIRAGE_ISA {
namespace {

// Inserts a key into keys (stride,) in ascending order; the largest falls out.
#if defined(__AVX2__)
MIRAGE_HD void insert(int64_t* keys, int64_t stride, int64_t key) {
  typedef int64_t Keys __attribute__((vector_size(kLayerBlock * sizeof(int64_t))));
  for (int64_t at = stride - kLayerBlock;; at -= kLayerBlock) {
    Keys own, before;  // each key, and the one before it
    __builtin_memcpy(&own, keys + at, sizeof(own));
#if defined(__clang__)
    before = __builtin_shufflevector(own, own, 0, 0, 1, 2, 3, 4, 5, 6);
#else
    before = __builtin_shuffle(own, Keys{0, 0, 1, 2, 3, 4, 5, 6});
#endif
    before[0] = at > 0 ? keys[at - 1] : INT64_MIN;
    const Keys larger = before > key ? before : Keys{} + key;
    own = own < larger ? own : larger;
    __builtin_memcpy(keys + at, &own, sizeof(own));
    if (at == 0 || keys[at - 1] < key) return;
  }
}
#else
MIRAGE_HD void insert(int64_t* keys, int64_t stride, int64_t key) {
  int64_t at = stride - 1;
  if (keys[at] < key) return;
  for (; at > 0 && keys[at - 1] > key; --at) keys[at] = keys[at - 1];
  keys[at] = key;
}
#endif

struct LayerBuffer {  // of one view
  LayerBuffers of;

  MIRAGE_HD const uint64_t* limits() const { return of.limits; }
  MIRAGE_HD void add(int64_t cell, uint64_t key) const {
    if (key >= of.limits[cell]) return;
    int64_t* keys = of.keys + cell * of.stride;
    insert(keys, of.stride, static_cast<int64_t>(key));
    of.limits[cell] = static_cast<uint64_t>(keys[of.layers - 1]);
  }
};

void scatter(const SplatPoints& points, const LayersJob& job) {
  const auto rasterize = choose_rasterizer<LayerBuffer>(points.shape);
  const int64_t cells = job.num_views * job.buffers.cells;
  for (int64_t i = 0; i < cells * job.buffers.stride; ++i) job.buffers.keys[i] = kNoLayer;
  for (int64_t i = 0; i < cells; ++i) job.buffers.limits[i] = kNoLayer;
  SplatBlock block;
  Candidates c;
  prepare(points, block);
  for (int64_t number = job.part; number < num_blocks(points); number += job.parts) {
    load(points, number, block);
    for (int v = 0; v < job.num_views; ++v)
      if (!is_culled(job.views[v].frustum, block.box, block.largest_extent))
        rasterize(block, {job.views[v], job.h, job.w}, {job.buffers.from(v)}, c);
  }
}

void join(const LayerBuffers& buffers, const LayerBuffers& others, int64_t first, int64_t last) {
  const LayerBuffer to{buffers};
  for (int64_t cell = first; cell < last; ++cell) {
    const int64_t* keys = others.keys + cell * others.stride;
    for (int64_t k = 0; k < others.layers; ++k) {
      if (static_cast<uint64_t>(keys[k]) >= buffers.limits[cell]) break;
      to.add(cell, static_cast<uint64_t>(keys[k]));
    }
  }
}

struct alignas(64) DecodedPoints {
  float x[kLanes], y[kLanes], z[kLanes];
  float u[kLanes], v[kLanes];
};

void decode(const SplatPoints& points, const View& view, int w, const LayerBuffers& in, const DecodedLayers& out) {
  const float infinity = bits_float(0x7f800000u), origin[3] = {};
  const Rigid m = view.world2cam;
  const Pinhole pinhole = view.pinhole;
  for (int64_t first = out.first; first < out.last; first += kLanes) {
    const int count = static_cast<int>(out.last - first < kLanes ? out.last - first : kLanes);
    for (int64_t k = 0; k < in.layers; ++k) {
      DecodedPoints p{};
      const int64_t to = k * in.cells + first;
      for (int l = 0; l < count; ++l) {
        const int64_t key = in.keys[(first + l) * in.stride + k];
        const bool hit = key != kNoLayer;
        const float* xyz = hit ? points.xyz + 3 * key_index(static_cast<uint64_t>(key)) : origin;
        p.x[l] = xyz[0];
        p.y[l] = xyz[1];
        p.z[l] = xyz[2];
        out.index[to + l] = hit ? key_index(static_cast<uint64_t>(key)) : -1;
        out.depth[to + l] = hit ? key_depth(static_cast<uint64_t>(key)) : infinity;
      }
      for (int l = 0; l < kLanes; ++l) {
        const Projection at = project(m, pinhole, p.x[l], p.y[l], p.z[l]);
        p.u[l] = at.u;
        p.v[l] = at.v;
      }
      for (int l = 0; l < count; ++l) {
        const int32_t cell = static_cast<int32_t>(first) + l;
        const float distance2 = to_center(p.u[l], p.v[l], cell / w, cell % w).length2();
        out.distance2[to + l] = out.index[to + l] >= 0 ? distance2 : infinity;
      }
    }
  }
}

}  // namespace

extern const LayersKernels layers_kernels{scatter, join, decode};

}  // namespace MIRAGE_ISA
}  // namespace mirage
