"""A report: what a comparison found, as one page of HTML that needs nothing else and as Markdown."""

from scalecli.analysis.report.content import Report, Section
from scalecli.analysis.report.files import write_report
from scalecli.analysis.report.sections import comparison_report

__all__ = ["Report", "Section", "comparison_report", "write_report"]
