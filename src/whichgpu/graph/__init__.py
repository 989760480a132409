"""The IR: Tensor, Op, Graph and Job, their checker and their JSON form. Knows no framework and no device."""

from whichgpu.graph.check import check
from whichgpu.graph.graph import Graph, Storage, StorageKind
from whichgpu.graph.job import Job
from whichgpu.graph.json_form import job_from_document, job_to_document
from whichgpu.graph.op import Attribute, Op, Phase
from whichgpu.graph.op_form import op_from_form, op_to_form
from whichgpu.graph.precision import PRECISIONS, Precision, precision
from whichgpu.graph.tensor import DTYPE_BYTES, Tensor, dtype_bytes

__all__ = [
    "DTYPE_BYTES",
    "PRECISIONS",
    "Attribute",
    "Graph",
    "Job",
    "Op",
    "Phase",
    "Precision",
    "Storage",
    "StorageKind",
    "Tensor",
    "check",
    "dtype_bytes",
    "job_from_document",
    "job_to_document",
    "op_from_form",
    "op_to_form",
    "precision",
]
