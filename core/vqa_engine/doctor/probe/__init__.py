"""The probe's own process: what `vqa_engine.plugins.probe` starts to try plugins in."""
