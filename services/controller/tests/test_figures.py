"""What an engine's metrics say."""

from __future__ import annotations

import pytest

from nexthos_controller.telemetry.engine_metrics import Count, EngineFigures, read_figures

TEXT = """\
# HELP input_received Benthos Counter metric
# TYPE input_received counter
input_received{label="",path="root.input",pipeline="p"} 12
# TYPE output_sent counter
output_sent{label="a",path="root.output.broker.outputs.0"} 5
output_sent{label="b",path="root.output.broker.outputs.1"} 6
# TYPE output_error counter
output_error{label="a",path="root.output"} 1
# TYPE processor_error counter
processor_error{label="",path="root.pipeline.processors.0"} 2
# TYPE output_latency_ns summary
output_latency_ns_sum 1e9
output_latency_ns_count 11
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 0.25
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 4.4118016e+07
process_resident_memory_bytes_peak 5e+07
"""


def test_inputs_and_outputs_are_added_up():
    assert read_figures(TEXT) == EngineFigures(Count(12, 11, 3), 0.25, 44_118_016)


def test_counters_may_be_named_total():
    text = "# TYPE input_received counter\ninput_received_total 7.0\n"
    assert read_figures(text) == EngineFigures(Count(7, 0, 0))


@pytest.mark.parametrize("text", ["", '{"input_received": 1}', "404 page not found", "up 1\n"])
def test_a_text_without_messages_says_nothing(text):
    assert read_figures(text) is None


def test_what_is_no_metrics_is_refused():
    with pytest.raises(ValueError, match=r"."):
        read_figures('input_received{label="} 1')
