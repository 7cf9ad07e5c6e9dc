"""Data up, results down: plan (pure), then one tar stream over the connection that is there.

listing   what lies in a folder, here or on the cluster
plan      which files to send or fetch, what to set aside: values made from listings
naming    names that the local disk can store
send      upload: the stream to the cluster
fetch     download: the stream home
folder    the local side of a download; manifest: what earlier downloads wrote
far       the commands of templates/transfer.sh and their answers
failures  what went wrong, in plain words
"""

from __future__ import annotations

from dl4mic_hpc.transfer.fetch import download
from dl4mic_hpc.transfer.listing import Entry, Kind, Listing, Skipped, list_local
from dl4mic_hpc.transfer.plan import DownloadPlan, UploadPlan, plan_download, plan_upload
from dl4mic_hpc.transfer.send import upload
from dl4mic_hpc.transfer.summary import Progress, Summary, amount

__all__ = [
    "DownloadPlan",
    "Entry",
    "Kind",
    "Listing",
    "Progress",
    "Skipped",
    "Summary",
    "UploadPlan",
    "amount",
    "download",
    "list_local",
    "plan_download",
    "plan_upload",
    "upload",
]
