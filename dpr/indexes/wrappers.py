"""The index inside a FAISS index: transforms and refinements wrap the one with cells or links."""

import faiss


def inner(index: faiss.Index) -> faiss.Index:
    """The index inside all wrappers."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return inner(index.index)
    if isinstance(index, faiss.IndexRefine):
        return inner(index.base_index)
    return index


def can_be_merged(index: faiss.Index) -> bool:
    """Whether parts that were filled apart can be put together: cells can, refinements cannot."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return can_be_merged(index.index)
    return isinstance(index, faiss.IndexIVF)


def wrapped(index: faiss.Index, parameters: faiss.SearchParameters) -> faiss.SearchParameters:
    """Search parameters of the inner index, in the form that the outer one passes on."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inside = wrapped(index.index, parameters)
        return faiss.SearchParametersPreTransform(index_params=inside)
    if isinstance(index, faiss.IndexRefine):
        inside = wrapped(index.base_index, parameters)
        return faiss.IndexRefineSearchParameters(k_factor=index.k_factor, base_index_params=inside)
    return parameters
