class OpenVocabularyFilter:
    pass
