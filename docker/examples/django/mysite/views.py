import time

from django.http import HttpResponse, HttpResponseBadRequest


def hello(request):
    return HttpResponse("Hello from Django.\n", content_type="text/plain")


def slow(request):
    try:
        seconds = min(float(request.GET.get("s", "2")), 60.0)
    except ValueError:
        return HttpResponseBadRequest("s takes a number of seconds.\n", content_type="text/plain")
    print(f"django: working for {seconds:g} s")
    time.sleep(seconds)
    return HttpResponse(f"Done after {seconds:g} s of work.\n", content_type="text/plain")
