// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <Python.h>

#include "build_info.h"
#include "cpu/isa.h"
#include "torch/probe.h"
#include "torch/tensor.h"

// Importing this module loads the library, and loading it registers every kernel. It exposes only the build's own
// description, whether its CUDA runtime works here, and the choice of CPU instruction set.
namespace {

constexpr const char* kIsaNames[] = {"baseline", "avx2", "avx512"};

PyObject* isa(PyObject*, PyObject*) { return PyUnicode_FromString(kIsaNames[static_cast<int>(mirage::current_isa())]); }

PyObject* supported_isas(PyObject*, PyObject*) {
  PyObject* names = PyList_New(0);
  for (int i = 0; names && i <= static_cast<int>(mirage::best_isa()); ++i) {
    PyObject* name = PyUnicode_FromString(kIsaNames[i]);
    if (!name || PyList_Append(names, name) != 0) Py_CLEAR(names);
    Py_XDECREF(name);
  }
  return names;
}

PyObject* set_isa(PyObject*, PyObject* name) {
  for (int i = 0; PyUnicode_Check(name) && i <= static_cast<int>(mirage::best_isa()); ++i) {
    if (PyUnicode_CompareWithASCIIString(name, kIsaNames[i]) == 0) {
      mirage::set_isa(static_cast<mirage::Isa>(i));
      Py_RETURN_NONE;
    }
  }
  PyErr_Format(PyExc_ValueError, "instruction set: %R is not supported by this machine", name);
  return nullptr;
}

PyObject* cuda_problem(PyObject*, PyObject*) {
  const std::string problem = mirage::cuda_problem ? mirage::cuda_problem() : "";
  if (problem.empty()) Py_RETURN_NONE;
  return PyUnicode_FromString(problem.c_str());
}

PyMethodDef methods[] = {
    {"cuda_problem", cuda_problem, METH_NOARGS, "Why the CUDA runtime cannot use the GPUs here, or None."},
    {"isa", isa, METH_NOARGS, "The CPU instruction set in use."},
    {"supported_isas", supported_isas, METH_NOARGS, "The CPU instruction sets this machine runs, narrowest first."},
    {"set_isa", set_isa, METH_O, "Use this CPU instruction set; results do not depend on it."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

#define MIRAGE_JOIN(a, b) a##b
#define MIRAGE_INIT(module) MIRAGE_JOIN(PyInit_, module)

PyMODINIT_FUNC MIRAGE_INIT(MIRAGE_MODULE)() {
  PyObject* m = PyModule_Create(&module);
  if (m && PyModule_AddStringConstant(m, "build_info", MIRAGE_BUILD_INFO) != 0) Py_CLEAR(m);
  return m;
}
