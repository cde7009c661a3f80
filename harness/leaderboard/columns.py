"""What the tables for a person show: titles, and which values of a summary a cell shows in which form.

Lives here: columns and their order. Must not: how a table is drawn (`table`), what the values are (`summary`).
"""

RESULTS = {
    "entry": "{entry}",
    "top-1 %": "{top1:.2f}",
    "sd": "{top1_sd:.2f}",
    "95 % interval": "{top1_low:.2f} .. {top1_high:.2f}",
    "seeds": "{seeds}",
    "images": "{n:,}",
    "promised": "{promised:.2f}",
    "less promised": "{promised_difference:+.2f}",
    "parameters": "{parameters:,.0f}",
    "nonzeros": "{nonzeros:,.0f}",
    "teacher's nonzeros": "{teacher_nonzeros:,.0f}",
    "MACs": "{macs:,.0f}",
    "image passes": "{image_passes:,.0f}",
    "device seconds": "{device_seconds:,.0f}",
}
"""What a person reads first."""

EPOCH_KEPT = {"epoch kept": "{epoch_rule}"}
"""Beside the results where it is not the same for all."""

COMPARISONS = {
    "entry": "{entry}",
    "against": "{against}",
    "seeds of both": "{seeds}",
    "top-1 difference, points": "{difference:+.2f}",
    "sd": "{difference_sd:.2f}",
    "95 % interval": "{difference_low:+.2f} .. {difference_high:+.2f}",
    "top-1 is higher": "{verdict}",
    "gap difference, points": "{gap_difference:+.2f}",
    "gap's sd": "{gap_difference_sd:.2f}",
    "gap's 95 % interval": "{gap_difference_low:+.2f} .. {gap_difference_high:+.2f}",
    "gap is smaller": "{gap_verdict}",
}
"""Whether an entry beats another, and whether it falls less from training to held-out images; percent points."""

HELD_OUT = {
    "entry, on held-out images": "{entry}",
    "confidence": "{confidence:.4f} ± {confidence_half:.4f}",
    "entropy": "{entropy:.4f} ± {entropy_half:.4f}",
    "NLL": "{nll:.4f} ± {nll_half:.4f}",
    "ECE": "{ece:.4f} ± {ece_half:.4f}",
    "margin": "{margin:.4f} ± {margin_half:.4f}",
    "compactness": "{compactness:.4f} ± {compactness_half:.4f}",
    "agreement %": "{agreement:.2f} ± {agreement_half:.2f}",
}
"""What the networks say rather than how often they are right."""

TRAINING = {
    "entry, on training images": "{entry}",
    "top-1 %": "{train_top1:.2f} ± {train_top1_half:.2f}",
    "gap, points": "{gap:.2f} ± {gap_half:.2f}",
    "NLL": "{train_nll:.4f} ± {train_nll_half:.4f}",
    "entropy": "{train_entropy:.4f} ± {train_entropy_half:.4f}",
    "gradient flow": "{gradient_flow:.4f} ± {gradient_flow_half:.4f}",
    "smoothing": "{smoothing:.4f} ± {smoothing_half:.4f}",
    "share": "{smoothing_share:.4f} ± {smoothing_share_half:.4f}",
    "smoothing, T=10": "{smoothing_t10:.4f} ± {smoothing_t10_half:.4f}",
    "share, T=10": "{smoothing_share_t10:.4f} ± {smoothing_share_t10_half:.4f}",
}
"""What they say of images they have learnt, and how far top-1 falls from there: the generalisation gap."""
