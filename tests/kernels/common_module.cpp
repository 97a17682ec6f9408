// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
//
// The shared headers, function by function, for property tests. Built by the tests, never part of a wheel.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <vector>

#include "common/depth_key.h"
#include "common/float16.h"
#include "common/frustum.h"
#include "common/voxel_key.h"
#include "overlap/overlap.h"
#include "splat/splat.h"
#include "unproject/unproject.h"
#include "voxel_cache/voxel_cache_code.h"

namespace py = pybind11;
using namespace mirage;

using Matrix = std::array<float, 12>;
using Lens = std::array<float, 4>;

static Pinhole lens(const Lens& k) { return {k[0], k[1], k[2], k[3]}; }

struct Sorted {  // what select_rank asks of the owner of the values
  const std::vector<uint32_t>& values;
  int* asked;
  Split split(uint32_t bound, int32_t rank) const {
    ++*asked;
    int32_t up_to = 0;
    uint32_t max_value = 0, min_value = UINT32_MAX;
    for (uint32_t v : values) {
      up_to += v <= bound;
      max_value = v <= bound ? std::max(max_value, v) : max_value;
      min_value = v > bound ? std::min(min_value, v) : min_value;
    }
    return {up_to, up_to > rank ? max_value : min_value};
  }
};

PYBIND11_MODULE(common_module, m) {
  m.def("is_finite", &is_finite);
  m.def("ceil_div", &ceil_div);
  m.def("depth_key", &depth_key);
  m.def("key_index", &key_index);
  m.def("key_depth", &key_depth);
  m.attr("EMPTY_KEY") = kEmptyKey;
  m.def("voxel_axis", &voxel_axis);
  m.def("voxel_key", [](uint32_t x, uint32_t y, uint32_t z) { return voxel_key({x, y, z}); });
  m.def("axes_of", [](int64_t key) {
    const VoxelAxes a = axes_of(key);
    return std::array<uint32_t, 3>{a.x, a.y, a.z};
  });
  m.def("morton", [](int64_t key) { return morton(axes_of(key)); });
  m.def("short_codes", [](const std::vector<int64_t>& keys) {  // of these voxels, and what they restore to
    VoxelAxes ones{0, 0, 0}, zeros{0, 0, 0};
    for (int64_t key : keys) {
      const VoxelAxes a = axes_of(key), f{fold_axis(a.x), fold_axis(a.y), fold_axis(a.z)};
      ones = {ones.x | f.x, ones.y | f.y, ones.z | f.z};
      zeros = {zeros.x | ~f.x, zeros.y | ~f.y, zeros.z | ~f.z};
    }
    const ShortCode code = make_short_code(ones, zeros);
    std::vector<uint64_t> brief, back;
    for (int64_t key : keys) {
      brief.push_back(shorten(code, morton(axes_of(key))));
      back.push_back(restore(code, brief.back()));
    }
    return py::make_tuple(code.bits, brief, back);
  });
  m.def("axes_of_morton", [](uint64_t code) {
    const VoxelAxes a = axes_of_morton(code);
    return std::array<uint32_t, 3>{a.x, a.y, a.z};
  });
  m.def("home_slot", [](int64_t key, uint64_t slots) { return home_slot(axes_of(key), slots); });
  m.def("bfloat16_to_float", py::vectorize([](uint16_t x) { return to_float(BFloat16{x}); }));
  m.def("float16_to_float", py::vectorize([](uint16_t x) { return to_float(Float16{x}); }));
  m.def("float_to_bfloat16", py::vectorize([](float x) {
          BFloat16 out;
          from_float(x, &out);
          return out.bits;
        }));
  m.def("float_to_float16", py::vectorize([](float x) {
          Float16 out;
          from_float(x, &out);
          return out.bits;
        }));
  m.def("transform", [](const Matrix& pose, float x, float y, float z) {
    const Vec3 p = transform(load_rigid(pose.data()), x, y, z);
    return std::array<float, 3>{p.x, p.y, p.z};
  });
  m.def("project", [](const Matrix& pose, const Lens& k, float x, float y, float z) {
    const Projection p = project(load_rigid(pose.data()), lens(k), x, y, z);
    return std::array<float, 4>{p.u, p.v, p.z, p.inv};
  });
  m.def("cell_of", [](float u, float v, float z, int h, int w) { return cell_of({u, v, z, 1.0f / z}, h, w); });
  m.def("lift", [](const Lens& k, int i, int j, float z) {
    const Vec3 p = lift(lens(k), i, j, z);
    return std::array<float, 3>{p.x, p.y, p.z};
  });
  m.def(
      "is_culled",
      [](const Matrix& pose, const Lens& k, int h, int w, std::array<float, 3> lo, std::array<float, 3> hi,
         float extent, float margin) {
        const Box box{{lo[0], lo[1], lo[2]}, {hi[0], hi[1], hi[2]}};
        return is_culled(make_frustum(load_rigid(pose.data()), lens(k), h, w, margin), box, extent);
      },
      py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg("margin") = 0.0f);
  m.def("centers_within", [](float at, float reach, int size) {
    const Span s = centers_within(at, reach, size);
    return std::array<int32_t, 2>{s.first, s.last};
  });
  m.def("covered_cells", [](const Matrix& pose, const Lens& k, float x, float y, float z, float extent, int h, int w) {
    const CellRange c = covered_cells(project(load_rigid(pose.data()), lens(k), x, y, z), lens(k), extent, h, w, kNear);
    return std::array<int32_t, 4>{c.i0, c.i1, c.j0, c.j1};
  });
  m.def("scaled_extent", &scaled_extent);
  m.def("disc_covers", &disc_covers);
  m.def("cells_around", [](float u, float v, float radius, int h, int w) {
    const CellRange c = cells_around({u, v, 1.0f, 1.0f}, radius, h, w, kNear);
    return std::array<int32_t, 4>{c.i0, c.i1, c.j0, c.j1};
  });
  m.def("bilinear_taps", [](float u, float v, float z, int h, int w) {  // (cell, weight) of every corner
    std::array<std::pair<int32_t, float>, 4> out;
    for (int corner = 0; corner < 4; ++corner) {
      const BilinearTap t = bilinear_tap(corners_of({u, v, z, 1.0f / z}, h, w, kNear), corner, h, w);
      out[corner] = {t.cell, t.weight};
    }
    return out;
  });
  m.def("blend_limit", &blend_limit);
  m.def("pixels_of", [](int64_t i, int64_t cells, int64_t pixels) {
    const PixelRange r = pixels_of(i, cells, pixels);
    return std::array<int32_t, 2>{r.first, r.last};
  });
  m.def("pixel_under", &pixel_under);
  m.def("taps_of", [](int64_t i, int64_t cells, int64_t pixels) {
    const Taps t = taps_of(i, cells, pixels);
    return std::tuple(t.first, t.second, t.weight);
  });
  m.def("sortable", [](float depth) { return sortable(float_bits(depth)); });
  m.attr("UNUSABLE") = kUnusable;
  m.def("enough", &enough);
  m.def("count_bits", &count_bits);
  m.def("bit_of_group", [](int64_t group, int64_t groups) {
    const GroupBit at = bit_of_group(group, groups);
    return std::tuple(at.word, at.bit);
  });
  m.def("iou", &iou);
  m.def("select_rank", [](const std::vector<uint32_t>& values, int32_t rank, bool guess) {
    const auto [lo, hi] = std::minmax_element(values.begin(), values.end());
    int asked = 0;
    const int32_t count = values.size();
    const Sorted sorted{values, &asked};
    const uint32_t value = guess ? select_rank<8>(*lo, *hi, rank, count, sorted)
                                 : select_rank<0>(*lo, *hi, rank, count, sorted);
    return py::make_tuple(value, asked);
  });
}
