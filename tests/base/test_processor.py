from dpr.base import environment

CPUINFO = """processor\t: 0
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
flags\t\t: fpu avx2 avx512f avx512_bf16 sse2

processor\t: 1
model name\t: another
"""


def test_the_processor_is_named(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    monkeypatch.setattr(environment, "Path", lambda name: path)
    expected = "AMD EPYC, family 25, model 17 (AVX2, AVX512, AVX512-BF16)"
    assert environment.processor() == expected
    path.write_text("processor: 0\nmodel name: Neoverse\n")  # no family on ARM
    assert environment.processor() == "Neoverse"
    path.unlink()
    assert environment.processor()
