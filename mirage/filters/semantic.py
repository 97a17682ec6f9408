class SemanticFilter:
    pass
