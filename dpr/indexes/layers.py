"""What lies inside a FAISS index: transforms and refinements wrap the one that searches."""

import faiss


def inner(index: faiss.Index) -> faiss.Index:
    """The index within all wrappers: the one with cells, links or codes."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return inner(index.index)
    if isinstance(index, faiss.IndexRefine):
        return inner(index.base_index)
    return index


def for_inner(index: faiss.Index, parameters: faiss.SearchParameters) -> faiss.SearchParameters:
    """Search parameters of the inner index, as the outer one hands them on."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        within = for_inner(index.index, parameters)
        return faiss.SearchParametersPreTransform(index_params=within)
    if isinstance(index, faiss.IndexRefine):
        within = for_inner(index.base_index, parameters)
        return faiss.IndexRefineSearchParameters(k_factor=index.k_factor, base_index_params=within)
    return parameters
