"""Addresses of the receipt endpoints: `/receipts/<provider's identifier>/`."""

from django.urls import path

from providers import views

urlpatterns = [path("<slug:identifier>/", views.receive, name="receipts")]
