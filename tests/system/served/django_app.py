"""A django site of one page: settings and addresses in one module."""

from django.http import HttpResponse
from django.urls import re_path

SECRET_KEY = "for a test"
DEBUG = True
ROOT_URLCONF = __name__
ALLOWED_HOSTS = ["*"]

urlpatterns = [re_path("", lambda request: HttpResponse(f"hello from {request.path}"))]
