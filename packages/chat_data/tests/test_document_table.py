from packages.chat_data.src.document import Document, Message
from packages.chat_data.src.document_table import document_batches, write_documents


def test_documents_come_back_in_order_as_they_were(tmp_path):
    documents = [
        Document((), f"text {number} \u00e9\x85", f"a.txt:{number}")
        for number in range(1_500)
    ]
    documents.append(
        Document((Message("user", "q"), Message("assistant", "a")), "", "b.jsonl:1")
    )
    dataset = write_documents(iter(documents), tmp_path / "documents.arrow")
    assert len(dataset) == 1_501
    batches = list(document_batches(dataset))
    assert [len(batch) for batch in batches] == [1_000, 501]
    assert [one for batch in batches for one in batch] == documents


def test_the_data_set_maps_its_file(tmp_path):
    dataset = write_documents(
        [Document((), "text", "a.txt:1")], tmp_path / "documents.arrow"
    )
    assert dataset.cache_files == [{"filename": str(tmp_path / "documents.arrow")}]
    assert dataset[0]["text"] == "text"
